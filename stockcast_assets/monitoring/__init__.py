"""What keeps an eye on the product: drift of the inputs, accuracy of the forecasts, and the pages that show it.

Pure functions of frames (no Dagster here); `files` is the one module that touches a disk or a bucket.
"""
