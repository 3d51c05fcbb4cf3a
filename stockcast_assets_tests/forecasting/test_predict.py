"""The daily forecast: exact rows, no peeking, the same bits alone and in company."""

import dataclasses
import time
from datetime import date
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.serving.forecaster import Forecaster
from stockcast_assets.forecasting.serving.predict import BASELINE_COLUMNS, COLUMNS, QUANTILE_COLUMNS, forecast
from stockcast_assets.tables import BESIDE_COLUMNS, QUANTILES, SIGMA_COLUMNS
from stockcast_assets_tests.forecasting.conftest import TRAINED_TO

METHODS = (
    "lstm",
    "average",
    "naive_har",
    "naive_har_quarterly",
    "naive_fhs",
    "naive_vol60",
    "naive_vol250",
    "naive_random_walk",
    "naive_drift",
)
PRICES = ["open", "high", "low", "close", "adj_close"]


@pytest.fixture(scope="module")
def bars(sample: dict[str, pd.DataFrame], jobs: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The training bars and the month after them."""
    return {
        ticker: sample[ticker][sample[ticker]["date"] >= jobs[ticker]["date"][0]].reset_index(drop=True)
        for ticker in ("AAPL", "MSFT")
    }


@pytest.fixture(scope="module")
def days(bars: dict[str, pd.DataFrame]) -> dict[str, list[pd.Timestamp]]:
    return {ticker: list(of["date"][of["date"] > pd.Timestamp(TRAINED_TO)]) for ticker, of in bars.items()}


def models(trained: dict[str, TrainedModel], method: str) -> dict[str, Forecaster]:
    return {t: dataclasses.replace(trained[t].forecaster, method=method) for t in ("AAPL", "MSFT")}


def same(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Equal to the last bit."""
    columns = ["last_close", *QUANTILE_COLUMNS, *BASELINE_COLUMNS]
    return a[columns].to_numpy().tobytes() == b[columns].to_numpy().tobytes()


def test_exactly_the_rows_asked_for(trained, bars, days) -> None:
    frame = forecast(models(trained, "lstm"), bars, days)
    assert list(frame.columns) == [*COLUMNS, *BASELINE_COLUMNS]
    assert len(frame) == sum(len(of) for of in days.values()) * HORIZON
    keys = frame[["ticker", "date", "horizon"]]
    assert not keys.duplicated().any()
    pd.testing.assert_frame_equal(keys, keys.sort_values(["ticker", "date", "horizon"], ignore_index=True))
    assert {(t, d) for t, d in keys[["ticker", "date"]].itertuples(index=False)} == {
        (ticker, day) for ticker, of in days.items() for day in of
    }
    quantiles = frame[QUANTILE_COLUMNS].to_numpy()
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert (quantiles > 0).all()
    closes = pd.concat(bars.values()).set_index(["ticker", "date"])["close"]
    assert (
        frame["last_close"].to_numpy() == closes.loc[list(keys[["ticker", "date"]].itertuples(index=False, name=None))]
    ).all()
    assert (frame["naive_close"] == frame["last_close"]).all()
    assert set(frame["method"]) == {"lstm"}


@pytest.mark.parametrize("method", METHODS)
def test_a_day_alone_has_the_bits_it_has_in_a_range(trained, bars, days, method: str) -> None:
    of_method = models(trained, method)
    together = forecast(of_method, bars, days)
    for ticker in days:
        for day in (days[ticker][0], days[ticker][7], days[ticker][-1]):
            alone = forecast({ticker: of_method[ticker]}, {ticker: bars[ticker]}, {ticker: [day]})
            rows = together[(together["ticker"] == ticker) & (together["date"] == day)]
            assert same(alone, rows), (ticker, day)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spoil", ["truncated", "shuffled", "absent", "absurd"])
def test_the_future_changes_no_bit(trained, bars, days, method: str, spoil: str) -> None:
    of_method = models(trained, method)
    for position in (0, 12):
        day = days["AAPL"][position]
        real = forecast(of_method, bars, {"AAPL": [day]})
        changed = bars["AAPL"].copy()
        after = changed.index[changed["date"] > day]
        if spoil == "truncated":
            changed = changed.drop(after)
        elif spoil == "shuffled":
            changed.loc[after, PRICES] = changed.loc[after[::-1], PRICES].to_numpy()
        elif spoil == "absent":
            changed.loc[after, PRICES] = np.nan
        else:
            changed.loc[after, PRICES] *= 1e9
        assert same(real, forecast(of_method, {"AAPL": changed}, {"AAPL": [day]}))


@given(data=st.data())
@settings(max_examples=25)
def test_any_days_of_any_tickers_have_the_bits_of_one_day_alone(trained, bars, days, data: st.DataObject) -> None:
    """Days, tickers and methods drawn at random; each day of the call stands for itself."""
    methods = {ticker: data.draw(st.sampled_from(("lstm", "average", "naive_har"))) for ticker in days}
    of_method = {ticker: models(trained, method)[ticker] for ticker, method in methods.items()}
    asked = {ticker: sorted(data.draw(st.sets(st.sampled_from(of), max_size=6))) for ticker, of in days.items()}
    together = forecast(of_method, bars, asked)
    for ticker, of_ticker in asked.items():
        for day in of_ticker:
            alone = forecast(of_method, bars, {ticker: [day]})
            assert same(alone, together[(together["ticker"] == ticker) & (together["date"] == day)])


def test_the_average_lies_half_way_between_the_network_and_its_start(trained, bars) -> None:
    history = prepare(bars["AAPL"])
    rows = np.arange(len(history) - 5, len(history))
    mean, network, start = (
        models(trained, method)["AAPL"].raw(history, rows) for method in ("average", "lstm", "naive_har_quarterly")
    )
    assert np.array_equal(mean, (network + start) / 2)
    assert not np.array_equal(network, start)


def test_baselines_stand_beside_whatever_is_published(trained, bars, days) -> None:
    """Each is what publishing it would have said, to the last bit; without a universe none knows of reports."""
    published = forecast(models(trained, "lstm"), bars, days)
    har = forecast(models(trained, "naive_har"), bars, days)
    assert published[list(BESIDE_COLUMNS["har"])].to_numpy().tobytes() == har[QUANTILE_COLUMNS].to_numpy().tobytes()
    assert same_baselines(published, har)
    assert published[list(BESIDE_COLUMNS["har_earnings"])].isna().all(axis=None)
    for name, column in SIGMA_COLUMNS.items():
        own = forecast(models(trained, f"naive_{name}"), bars, days)
        normal = np.array([NormalDist().inv_cdf(level) for level in QUANTILES])
        said = np.log(own[QUANTILE_COLUMNS].to_numpy() / own[["last_close"]].to_numpy())
        np.testing.assert_allclose(published[[column]].to_numpy() * normal, said, rtol=0, atol=1e-12)


def same_baselines(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    return a[BASELINE_COLUMNS].to_numpy().tobytes() == b[BASELINE_COLUMNS].to_numpy().tobytes()


def test_calibration_learns_within_the_month_from_known_outcomes_only(trained, bars, days) -> None:
    """A crash changes the intervals ten sessions later, by what the calibration learnt, and no day before."""
    of_method = models(trained, "lstm")
    day = days["AAPL"][-1]
    network = of_method["AAPL"].network
    still_calibration = dataclasses.replace(network.calibration, step=0.0)
    frozen_network = dataclasses.replace(network, calibration=still_calibration)
    frozen = {"AAPL": dataclasses.replace(of_method["AAPL"], network=frozen_network)}
    learning = forecast(of_method, bars, {"AAPL": [day]})
    still = forecast(frozen, bars, {"AAPL": [day]})
    assert not same(learning, still)
    first = days["AAPL"][0]
    one_outcome = forecast(of_method, bars, {"AAPL": [first]})
    assert np.allclose(one_outcome["close_p50"], forecast(frozen, bars, {"AAPL": [first]})["close_p50"])


def test_as_of_the_last_training_session(trained, bars) -> None:
    frame = forecast(models(trained, "lstm"), bars, {"MSFT": [TRAINED_TO]})
    assert frame["date"].unique() == [pd.Timestamp(TRAINED_TO)]


def test_plain_dates_and_repeats_are_fine(trained, bars, days) -> None:
    day = days["MSFT"][0]
    of_method = models(trained, "lstm")
    assert same(forecast(of_method, bars, {"MSFT": [day.date(), day]}), forecast(of_method, bars, {"MSFT": [day]}))
    assert list(forecast(of_method, bars, {"MSFT": []}).columns) == [*COLUMNS, *BASELINE_COLUMNS]


def test_what_cannot_be_forecast_is_said(trained, bars) -> None:
    of_method = models(trained, "lstm")
    with pytest.raises(
        StockcastError, match="was trained on sessions up to 2013-01-31 and cannot forecast as of 2013-01-15"
    ):
        forecast(of_method, bars, {"AAPL": [date(2013, 1, 15)]})
    with pytest.raises(StockcastError, match="AAPL has no bar on 2013-02-16"):
        forecast(of_method, bars, {"AAPL": [date(2013, 2, 16)]})
    with pytest.raises(StockcastError, match="no model of IBM"):
        forecast(of_method, bars, {"IBM": [date(2013, 2, 15)]})
    with pytest.raises(StockcastError, match="no bars of MSFT"):
        forecast(of_method, {}, {"MSFT": [date(2013, 2, 15)]})
    with pytest.raises(StockcastError, match="trained on MSFT"):
        forecast({"AAPL": of_method["MSFT"]}, bars, {"AAPL": [date(2013, 2, 15)]})


def test_many_tickers_take_milliseconds_each(trained, bars, days) -> None:
    """Generous: 100 tickers in 5 s of this process's own time; measured figures are in docs/forecasting.md."""
    copies = {f"T{n}": ("AAPL", "MSFT")[n % 2] for n in range(100)}
    many = {name: dataclasses.replace(models(trained, "lstm")[of], ticker=name) for name, of in copies.items()}
    histories = {name: bars[of].assign(ticker=name) for name, of in copies.items()}
    started = time.process_time()
    frame = forecast(many, histories, {name: [days[of][-1]] for name, of in copies.items()})
    assert time.process_time() - started < 5
    single = forecast(models(trained, "lstm"), bars, {"AAPL": [days["AAPL"][-1]]})
    assert same(frame[frame["ticker"] == "T42"], single)
