"""Trustworthy daily stock forecasts as Dagster assets."""

__version__ = "0.1.0"
"""Of both distributions; see CONTRIBUTING.md, "Versions"."""
