import base64
import json
import re
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockcast_assets.charts import plotly as charts
from stockcast_assets.charts import svg
from stockcast_assets.charts.fan import Fan, marks
from stockcast_assets.charts.png import forecast_png
from stockcast_assets.market import indicators
from stockcast_assets.market.earnings import HOURS
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets_tests.monitoring.conftest import fan


@pytest.fixture(scope="module")
def studied():
    bars = SampleSource().bars("MSFT", None, pd.Timestamp("2013-03-01").date())
    computed = indicators.compute(bars).drop(columns=["ticker", "date", "close"])
    return pd.concat([bars, computed], axis=1).tail(200)


@pytest.fixture(scope="module")
def forecast(studied):
    return fan(studied, "2013-02-15")


def trace(figure, name):
    return next(t for t in figure.data if t.name == name)


@pytest.mark.parametrize("palette", [charts.LIGHT, charts.DARK])
@pytest.mark.parametrize("candles", [False, True])
def test_the_fan_shows_the_stored_quantiles(studied, forecast, palette, candles):
    known = studied[studied["date"] <= "2013-02-15"]
    later = studied[studied["date"] > "2013-02-15"]
    figure = charts.price_and_fan(known, forecast, later, palette, candles)
    last = forecast["last_close"].iloc[0]
    for name, low, high in (
        ("90 % interval", "05", "95"),
        ("80 % interval", "10", "90"),
        ("50 % interval", "25", "75"),
    ):
        band = list(trace(figure, name).y)
        assert band[:11] == [last, *forecast[f"close_p{high}"]]
        assert band[11:][::-1] == [last, *forecast[f"close_p{low}"]]
    # Offered in the legend, where the forecast has its quantiles.
    widest = trace(figure, "98 % interval")
    assert widest.visible == "legendonly"
    assert list(widest.y)[11:][::-1] == [last, *forecast["close_p01"]]
    of_earlier_release = charts.price_and_fan(known, forecast.assign(close_p01=np.nan), later, palette, candles)
    assert "98 % interval" not in [one.name for one in of_earlier_release.data]
    assert list(trace(figure, "Median forecast").y)[1:] == forecast["close_p50"].tolist()
    assert list(trace(figure, "What happened").y) == [known["close"].iloc[-1], *later["close"]]
    assert (("Volume" in [t.name for t in figure.data]), ("SMA 15" in [t.name for t in figure.data])) == (
        candles,
        not candles,
    )
    json.loads(figure.to_json())


def test_weekends_are_left_out_unless_the_ticker_trades_then(studied, forecast):
    breaks = charts.price_and_fan(studied, forecast, studied[:0], charts.LIGHT).layout.xaxis.rangebreaks
    assert len(breaks) == 1
    daily = studied.assign(date=pd.date_range("2012-01-01", periods=len(studied)))
    assert not charts.price_and_fan(daily, forecast[:0], daily[:0], charts.LIGHT).layout.xaxis.rangebreaks


def test_histogram_counts_every_session(studied):
    bars = charts.close_histogram(studied["close"], 12, charts.LIGHT).data[0]
    assert sum(bars.y) == len(studied)
    assert len(bars.y) == 12


def test_earlier_forecasts_stand_beside_the_close(forecast):
    figure = charts.forecasts_for_day(forecast, 28.0, charts.LIGHT)
    bar = trace(figure, "80 % interval")
    assert np.allclose(np.array(bar.base) + np.array(bar.y), forecast["close_p90"])
    assert figure.layout.shapes[0].y0 == 28.0


def test_ratios_have_their_intervals_and_a_ratio_without_one_none():
    shown = pd.DataFrame({"name": ["a", "b"], "ratio": [0.9, 1.1], "low": [0.8, np.nan], "high": [0.95, np.nan]})
    (points,) = charts.ratios(shown, charts.LIGHT, "ours / theirs").data
    assert list(points.x) == [0.9, 1.1]
    assert list(points.error_x.array) == pytest.approx([0.05, 0])
    assert list(points.error_x.arrayminus) == pytest.approx([0.1, 0])
    assert list(points.marker.symbol) == ["circle", "diamond"]


def test_calibration_is_in_per_cent_beside_what_it_should_be():
    histogram = charts.pit_histogram(np.array([0.2, 0.3, 0.4, 0.1]), charts.LIGHT)
    assert list(histogram.data[0].y) == pytest.approx([20, 30, 40, 10])
    assert histogram.layout.shapes[0].y0 == 25
    drawn, diagonal = charts.reliability((0.1, 0.9), np.array([0.2, 0.8]), charts.DARK).data
    assert (list(drawn.x), list(drawn.y)) == ([10, 90], [20, 80])
    assert list(diagonal.x) == list(diagonal.y)


def test_drift_history_has_one_line_a_feature_and_the_threshold_at_one():
    drift = pd.DataFrame(
        {
            "date": pd.to_datetime(["2013-01-02", "2013-01-03"] * 2),
            "feature": ["a", "a", "b", "b"],
            "score": [1.0, 2.0, 3.0, 4.0],
            "threshold": 2.0,
        }
    )
    figure = charts.drift_history(drift, charts.DARK)
    assert {t.name: list(t.y) for t in figure.data} == {"a": [0.5, 1.0], "b": [1.5, 2.0]}
    assert figure.layout.shapes[0].y0 == 1


def test_distributions_are_shares():
    feature = {
        "edges": [0, 1, 2, 3],
        "reference": {"n": 10, "histogram": [5, 3, 2]},
        "current": {"n": 4, "histogram": [0, 1, 3]},
    }
    figure = charts.distributions(feature, charts.LIGHT, reference="As promised")
    assert [t.name for t in figure.data] == ["As promised", "Recent sessions"]
    assert [sum(t.y) for t in figure.data] == pytest.approx([100, 100]), "per cent"
    assert list(figure.data[0].x) == [0.5, 1.5, 2.5]


@pytest.mark.parametrize(
    ("scale", "stored", "shown"),
    [
        (charts.LOG_RETURN, np.log(1.05), 5),
        (charts.PER_CENT, 0.05, 5),
        (charts.LOG_PER_CENT, np.log(0.05), 5),
        (charts.LOG_RATIO, np.log(2), 2),
    ],
)
def test_a_distribution_is_read_in_units_that_people_use(scale, stored, shown):
    window = {"n": 1, "histogram": [1]}
    feature = {"edges": [stored - 0.01, stored + 0.01], "reference": window, "current": window}
    figure = charts.distributions(feature, charts.LIGHT, scale)
    assert figure.data[0].x[0] == pytest.approx(shown)
    if figure.layout.xaxis.type == "log":
        assert shown in figure.layout.xaxis.tickvals


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("palette", "background"), [(charts.LIGHT, "#ffffff"), (charts.DARK, "#0f1720")])
def test_colours_can_be_told_from_the_background(palette, background):
    for color, least in (
        (palette.ink, 7),
        (palette.muted, 4.5),
        *((line, 3) for line in (palette.close, palette.forecast, palette.happened, *palette.lines)),
    ):
        high, low = sorted((_luminance(color), _luminance(background)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= least, color


def test_the_first_paint_has_the_fan_of_the_chart(studied, forecast):
    known = studied[studied["date"] <= "2013-02-15"]
    chart = charts.price_and_fan(known, forecast, known[:0], charts.LIGHT)
    address = svg.fan(known, forecast.sample(frac=1, random_state=1), charts.LIGHT)
    painted = base64.b64decode(address.split(",")[1]).decode()
    lowest = min(known["close"].min(), forecast["close_p05"].min())
    highest = max(known["close"].max(), forecast["close_p95"].max())
    for name, edge in zip(("90 %", "80 %", "50 %"), re.findall(r'polygon points="([^"]*)"', painted), strict=True):
        heights = np.array([float(point.split(",")[1]) for point in edge.split()])
        values = highest - heights / svg.HEIGHT * (highest - lowest)
        assert values == pytest.approx(trace(chart, f"{name} interval").y, abs=0.01)


REPORTS = [
    (pd.Timestamp("2013-01-24"), "after close", "filed"),
    (pd.Timestamp("2012-10-20"), "unknown", "filed"),
    (pd.Timestamp("2013-02-21"), "before open", "announced"),
    (pd.Timestamp("2001-01-18"), "unknown", "filed"),
    (pd.Timestamp("2013-04-18"), "unknown", "expected"),
]


def test_reports_stand_on_the_session_that_answers_them_for_every_painter(studied, forecast):
    known = studied[studied["date"] <= "2013-02-15"]
    marked = marks(REPORTS, known, Fan.of(forecast))
    # A Saturday's report is answered on Monday, one after the close on the next session; what is out of sight is left.
    days = ["2012-10-22", "2013-01-25", "2013-02-21"]
    assert [f"{mark.day:%Y-%m-%d}" for mark in marked] == days
    assert [mark.words for mark in marked][1:] == [
        "24 Jan 2013, after close, filed",
        "21 Feb 2013, before open, announced",
    ]
    assert marked[2].height == forecast.set_index("horizon")["close_p50"][marked[2].ahead]
    assert marked[1].height == known.set_index("date")["close"]["2013-01-25"]

    figure = charts.price_and_fan(known, forecast, known[:0], charts.LIGHT, reports=REPORTS)
    assert [f"{pd.Timestamp(line.x0):%Y-%m-%d}" for line in figure.layout.shapes] == days
    assert list(trace(figure, "Earnings report").y) == [mark.height for mark in marked]
    json.loads(figure.to_json())

    painted = base64.b64decode(svg.fan(known, forecast, charts.LIGHT, REPORTS).split(",")[1]).decode()
    lines = [float(x) for x in re.findall(r'points="([\d.]+),0 [^"]*"[^>]*stroke-dasharray', painted)]
    last = len(known) - 1 + len(forecast)
    assert lines == pytest.approx([(len(known) - 1 + mark.ahead) / last * svg.WIDTH for mark in marked], abs=0.06)
    assert forecast_png(known, forecast, REPORTS) != forecast_png(known, forecast)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.dates(date(2012, 4, 1), date(2013, 4, 1)), st.sampled_from(HOURS)), max_size=8))
def test_a_report_is_never_marked_before_it_is_told_nor_a_session_late(studied, forecast, said):
    known = studied[studied["date"] <= "2013-02-15"]
    sessions = pd.DatetimeIndex([*known["date"], *Fan.of(forecast).days[1:]])
    marked = marks([(pd.Timestamp(day), hour, "filed") for day, hour in said], known, Fan.of(forecast))
    assert [mark.ahead for mark in marked] == sorted({mark.ahead for mark in marked})
    for mark in marked:
        place = len(known) - 1 + mark.ahead
        assert sessions[place] == mark.day
        before = sessions[place - 1] if place else pd.Timestamp.min
        assert any(
            before < pd.Timestamp(day) + pd.Timedelta(days=int(hour == "after close")) <= mark.day for day, hour in said
        )
