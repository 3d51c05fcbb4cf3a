"""Fitting, in processes of their own."""
