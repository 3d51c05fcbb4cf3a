"""Bars: where they come from, on which days they are due, what is computed from them."""
