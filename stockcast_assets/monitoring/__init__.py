"""What keeps an eye on the product: drift of the inputs, accuracy of the forecasts, and their small charts.

Pure functions of frames (no Dagster here); `reports` is the one module that touches the disk.
"""
