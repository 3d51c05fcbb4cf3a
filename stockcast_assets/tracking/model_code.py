"""The code that MLflow runs to load a registered model (models-from-code): a copy lies beside each model's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.serving.forecaster import Forecaster
from stockcast_assets.forecasting.serving.own_bars import forecast_from, normalized


class DailyForecast(PythonModel):
    """Bars of the model's ticker in, the next ten sessions as of the last of them out."""

    def load_context(self, context: PythonModelContext) -> None:
        data = Path(context.artifacts["model"]).read_bytes()
        model = TrainedModel.from_bytes(data, context.model_config["weights_sha256"]).forecaster
        assert isinstance(model, Forecaster), "a universe's part has no MLmodel"
        self.model = model

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        return forecast_from(self.model, normalized(model_input, self.model.ticker))


set_model(DailyForecast())
