"""The same pictures, painted for the Dagster UI, the dashboard and its first paint."""
