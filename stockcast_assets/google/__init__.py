"""What Google's clients need: credentials, Dagster's resources of them, places in buckets."""
