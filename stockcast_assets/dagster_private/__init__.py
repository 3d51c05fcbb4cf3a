"""The only room that imports Dagster's private modules; what stands here may break with a minor release."""
