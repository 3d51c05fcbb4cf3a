"""What Google's clients need: credentials, buckets."""
