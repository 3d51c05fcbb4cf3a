"""The checks of the assets."""
