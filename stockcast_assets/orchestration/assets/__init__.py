"""The software-defined assets: thin wrappers that read, call the pure core, and return exactly their keys.

One module per asset, each with a `build_*` function that takes the partitions it needs.
"""
