"""What keeps an eye on the product: drift of the inputs, accuracy of the forecasts, and the pages that show it.

Pure functions of frames (no Dagster here); `reports` is the one module that keeps files.
"""
