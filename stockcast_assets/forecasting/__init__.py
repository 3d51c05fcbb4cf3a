"""Forecasts of the next 10 sessions: features, baselines, LSTM, walk-forward proof, gate and model registry.

Pure functions of frames and arrays: nothing here knows Dagster. TensorFlow only trains (`training`); every
forecast is numpy (`predict`), so the daily run never imports it.
"""
