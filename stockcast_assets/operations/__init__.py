"""What whoever runs stockcast day by day asks of it: is all well, and what do the numbers say."""
