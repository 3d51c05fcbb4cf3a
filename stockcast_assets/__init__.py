"""Trustworthy daily stock forecasts as Dagster assets."""
