import base64
import io

import matplotlib.image
import numpy as np
import pandas as pd

from stockcast_assets.charts.png import drift_png, forecast_png, markdown_image
from stockcast_assets_tests.monitoring.conftest import fan


def pixels(png: bytes) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(png), format="png")[..., :3]


def greens(png: bytes) -> np.ndarray:
    """Mask of the pixels of the fan: green far above red."""
    image = pixels(png)
    return image[..., 1] - image[..., 0] > 0.15


def test_a_small_picture_that_stays_the_same(msft):
    rows = fan(msft, "2013-02-15")
    png = forecast_png(msft[msft["date"] <= "2013-02-15"], rows)
    assert len(png) <= 60_000
    assert pixels(png).shape == (320, 640, 3)
    assert forecast_png(msft[msft["date"] <= "2013-02-15"], rows.sample(frac=1, random_state=1)) == png


def test_the_fan_is_on_the_right_and_as_wide_as_the_forecast(msft):
    past = msft[msft["date"] <= "2013-02-15"]
    narrow, wide = (greens(forecast_png(past, fan(msft, "2013-02-15", v))) for v in (0.004, 0.012))
    assert np.flatnonzero(narrow.any(axis=0)).min() > 450
    assert wide.sum() > narrow.sum() * 1.3


def test_a_short_history_is_drawn_too(msft):
    assert greens(forecast_png(msft.head(2), fan(msft.head(2), str(msft["date"].iloc[1].date())))).any()


def test_the_chart_of_drift_is_small_and_shows_in_red_what_drifted():
    scores = {"log_return": 0.4, "log_range": 1.5, "rsi_14": 0.9}
    rows = pd.DataFrame(
        [
            {"ticker": "MSFT", "date": "2013-02-15", "feature": name, "score": score, "threshold": 1.0}
            for name, score in scores.items()
        ]
    )
    calm, drifted = drift_png(rows.assign(drifted=False)), drift_png(rows.assign(drifted=rows["score"] >= 1))
    assert len(drifted) <= 30_000
    assert drift_png(rows.assign(drifted=rows["score"] >= 1).sample(frac=1, random_state=1)) == drifted
    reds = [(pixels(png)[..., 0] - pixels(png)[..., 1] > 0.4).sum() for png in (calm, drifted)]
    assert reds[0] == 0
    assert reds[1] > 1_000


def test_markdown_holds_the_picture(msft):
    png = forecast_png(msft.head(70), fan(msft.head(70), str(msft["date"].iloc[69].date())))
    text = markdown_image(png, "MSFT")
    assert text.startswith("![MSFT](data:image/png;base64,")
    assert base64.b64decode(text.split(",", 1)[1].removesuffix(")")) == png
