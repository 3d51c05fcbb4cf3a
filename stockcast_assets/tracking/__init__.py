"""Everything that speaks MLflow: runs, the registry of models, what serves a day."""
