"""From a fitted model to quantiles."""
