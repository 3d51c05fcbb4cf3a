"""What training workers are forked from: importing this module imports TensorFlow, so nothing else may import it."""

from stockcast_assets.forecasting.training import train, workers

__all__ = ["train"]

workers.import_tensorflow()
