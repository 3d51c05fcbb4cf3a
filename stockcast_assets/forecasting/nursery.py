"""What training workers are forked from: importing this module imports TensorFlow, so nothing else may import it."""

from stockcast_assets.forecasting import training, workers

__all__ = ["training"]

workers.import_tensorflow()
