"""Everything that speaks Dagster, by Dagster's own nouns. What computes knows nothing of it."""
