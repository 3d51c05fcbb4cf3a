"""Forecasts of the next 10 sessions: features, baselines, LSTM, walk-forward proof and gate.

Pure functions of frames and arrays: nothing here knows Dagster, nor MLflow, whose registry is in `tracking`. TensorFlow
only trains (`training`); every forecast is numpy (`serving.predict`), so the daily run never imports it.
"""
