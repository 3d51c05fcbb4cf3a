"""The universe's inputs, start and networks: nothing from the future, the same bits alone and beside others."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import ModelConfig
from stockcast_assets.forecasting.evaluation.scores import fold_before
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.universe.contenders import quantiles_over
from stockcast_assets.forecasting.universe.earnings import Reports
from stockcast_assets.forecasting.universe.fitting import fit_network
from stockcast_assets.forecasting.universe.inputs import Series, series_of
from stockcast_assets.forecasting.universe.market import market_of
from stockcast_assets.forecasting.universe.network import Question, UniverseModel
from stockcast_assets.forecasting.universe.start import fit_start, shape_of
from stockcast_assets.forecasting.universe.training import Prepared, model_of, prepare_training
from stockcast_assets.forecasting.universe.walkforward import walk_forward_universe, years_of
from stockcast_assets.methods import HAR, LSTM, MIX, MIX_EARNINGS, ORACLE
from stockcast_assets_tests.forecasting.universe.conftest import SESSIONS

Bars = dict[str, pd.DataFrame]
CUT = 700


def series(bars: Bars, reports: dict[str, Reports]) -> dict[str, Series]:
    histories = {ticker: prepare(of_ticker) for ticker, of_ticker in bars.items()}
    return series_of(histories, market_of(histories), reports)


@pytest.fixture(scope="module")
def seen(universe_bars: Bars, universe_reports: dict[str, Reports]) -> dict[str, Series]:
    return series(universe_bars, universe_reports)


@pytest.fixture(scope="module")
def prepared(seen: dict[str, Series]) -> Prepared:
    teachers = {ticker: one for ticker, one in seen.items() if ticker != "IBM"}
    return prepare_training(teachers, {t: fold_before(80, CUT, np.arange(CUT, CUT + 50), 100) for t in teachers})


@pytest.fixture(scope="module")
def model(prepared: Prepared, worker: ProcessPoolExecutor) -> UniverseModel:
    networks = [worker.submit(fit_network, prepared.data, loss, 7).result()[0] for loss in ("variance", "pinball")]
    return model_of(prepared, networks)


def test_a_price_that_never_moves_has_no_form_and_changes_that_of_no_other(universe_bars: Bars) -> None:
    flat = universe_bars["IBM"].assign(
        ticker="FLAT", **dict.fromkeys(("open", "high", "low", "close", "adj_close"), 5.0)
    )
    seen = series({**universe_bars, "FLAT": flat}, {})
    fold = fold_before(80, CUT, np.arange(CUT, CUT + 50), 100)
    together = prepare_training(seen, dict.fromkeys(seen, fold))
    with_it, starts, known = together.pooled, together.starts, fold.known
    others = [ticker for ticker in seen if ticker != "FLAT"]
    each = [shape_of(seen[t], known, starts[t].sigma(seen[t], known)) for t in others]
    assert with_it.shape is not None
    assert np.allclose(with_it.shape, np.mean(each, axis=0), rtol=1e-12)
    sigma = starts["FLAT"].sigma(seen["FLAT"], known)
    assert not quantiles_over(seen["FLAT"], known, sigma, with_it.shape).any()
    assert (
        np.diff(quantiles_over(seen["IBM"], known, starts["IBM"].sigma(seen["IBM"], known), with_it.shape)) > 0
    ).all()
    alone = prepare_training({"FLAT": seen["FLAT"]}, {"FLAT": fold}).pooled
    assert alone.shape is not None
    assert not alone.shape.any()


@pytest.mark.parametrize("way", ["truncated", "spoilt"])
def test_nothing_before_a_day_depends_on_what_comes_after_it(
    universe_bars: Bars, universe_reports: dict[str, Reports], seen: dict[str, Series], way: str
) -> None:
    day = universe_bars["AAPL"]["date"].iloc[CUT]
    changed = {}
    for ticker, bars in universe_bars.items():
        later = bars["date"] > day
        prices = ["open", "high", "low", "close", "adj_close"]
        spoilt = bars.assign(**{name: bars[name].where(~later, bars[name] * 3) for name in prices})
        changed[ticker] = spoilt if way == "spoilt" else bars[~later].reset_index(drop=True)
    cut = np.datetime64(day, "D")
    told = {t: Reports(of.sessions[of.known <= cut], of.known[of.known <= cut]) for t, of in universe_reports.items()}
    for ticker, one in series(changed, told).items():
        for name in ("market", "offsets", "steps", "ahead"):
            same = getattr(one, name)[: CUT + 1], getattr(seen[ticker], name)[: CUT + 1]
            assert np.array_equal(*same, equal_nan=True), (ticker, name)


def test_the_order_of_the_tickers_changes_no_bit(
    universe_bars: Bars, universe_reports: dict[str, Reports], seen: dict[str, Series], prepared: Prepared
) -> None:
    turned = series(dict(reversed(universe_bars.items())), universe_reports)
    for ticker, one in turned.items():
        assert np.array_equal(one.steps, seen[ticker].steps, equal_nan=True)
    teachers = {ticker: one for ticker, one in turned.items() if ticker != "IBM"}
    folds = {t: fold_before(80, CUT, np.arange(CUT, CUT + 50), 100) for t in teachers}
    again = prepare_training(teachers, folds)
    for one in fields(again.data):
        assert np.array_equal(getattr(again.data, one.name), getattr(prepared.data, one.name)), one.name


def test_training_learns_from_known_rows_only(
    universe_bars: Bars, universe_reports: dict[str, Reports], prepared: Prepared
) -> None:
    known = {ticker: bars.iloc[:CUT].reset_index(drop=True) for ticker, bars in universe_bars.items()}
    cut = np.datetime64(known["AAPL"]["date"].iloc[-1], "D")
    told = {t: Reports(of.sessions[of.known <= cut], of.known[of.known <= cut]) for t, of in universe_reports.items()}
    teachers = {ticker: one for ticker, one in series(known, told).items() if ticker != "IBM"}
    alone = prepare_training(teachers, {t: fold_before(80, CUT, np.arange(0), 100) for t in teachers})
    for ticker, start in alone.starts.items():
        assert np.array_equal(start.scale, prepared.starts[ticker].scale)
        assert np.array_equal(start.factor.by_offset, prepared.starts[ticker].factor.by_offset)
    for name in ("log_ratio", "targets", "heads"):
        flags = alone.data.flags(alone.data.known) > 0
        of_all = prepared.data.flags(prepared.data.known) > 0
        assert np.array_equal(getattr(alone.data, name)[flags], getattr(prepared.data, name)[of_all]), name


def test_a_network_has_the_same_bits_in_every_process(
    prepared: Prepared, model: UniverseModel, worker: ProcessPoolExecutor
) -> None:
    again, _ = worker.submit(fit_network, prepared.data, "pinball", 7).result()
    assert np.array_equal(again.state_out, model.networks[1].state_out)
    assert np.array_equal(again.lstm.kernel, model.networks[1].lstm.kernel)
    assert np.abs(again.state_out).max() > 0


def test_a_forecast_has_the_same_bits_alone_and_in_a_range(
    seen: dict[str, Series], prepared: Prepared, model: UniverseModel
) -> None:
    rows = np.arange(CUT, CUT + 40)
    together = model.sigma(seen["AAPL"], prepared.starts["AAPL"], rows)
    for row in (CUT, CUT + 7, CUT + 39):
        alone = model.sigma(seen["AAPL"], prepared.starts["AAPL"], np.array([row]))
        assert np.array_equal(alone[0], together[row - CUT])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(
        st.tuples(st.sampled_from(("AAPL", "MSFT", "GOOG")), st.lists(st.integers(100, SESSIONS - 1), min_size=1)),
        min_size=1, max_size=80,
    )
)  # fmt: skip
def test_tickers_asked_about_together_have_the_bits_of_each_alone(
    seen: dict[str, Series], prepared: Prepared, model: UniverseModel, asked: list[tuple[str, list[int]]]
) -> None:
    questions = []
    for number, (ticker, chosen) in enumerate(asked):
        rows, start = np.unique(chosen), prepared.starts[ticker]
        history = replace(seen[ticker].history, ticker=f"{ticker}.{number}")
        named = replace(seen[ticker], history=history)
        questions.append(Question(named, start, rows, start.sigma(named, rows)))
    for question, together in zip(questions, model.log_scales_of(questions), strict=True):
        assert np.array_equal(model.log_scales(*question), together)


def test_a_ticker_that_was_never_learnt_from_is_forecast_at_once(
    seen: dict[str, Series], prepared: Prepared, model: UniverseModel
) -> None:
    rows = np.arange(80, CUT - 20)
    start = fit_start(seen["IBM"], rows, prepared.pooled)
    sigma = model.sigma(seen["IBM"], start, np.arange(CUT, CUT + 50))
    assert np.isfinite(sigma).all()
    assert not np.array_equal(sigma, start.sigma(seen["IBM"], np.arange(CUT, CUT + 50)))


def test_the_steps_of_the_start_have_the_level_of_the_rows_they_were_fitted_on(
    seen: dict[str, Series], prepared: Prepared
) -> None:
    rows = np.arange(80, CUT - 10)
    for name, sigma in prepared.starts["MSFT"].sigmas(seen["MSFT"], rows).items():
        squares = ((seen["MSFT"].history.targets[rows] / sigma) ** 2).mean(axis=0)
        assert squares == pytest.approx(np.ones(10)), name


def test_the_walk_forward_judges_every_contender_on_the_same_days_and_the_oracle_wins(
    universe_bars: Bars, universe_reports: dict[str, Reports]
) -> None:
    late = universe_bars["GOOG"].tail(60).reset_index(drop=True)
    walk = walk_forward_universe(
        {**universe_bars, "GOOG": late}, universe_reports, date(2008, 7, 1), date(2008, 12, 1),
        train_on=["AAPL", "MSFT"], config=ModelConfig(validation_sessions=60), workers=2,
    )  # fmt: skip
    # One has too short a past, and is left out.
    assert walk.tickers == ["AAPL", "IBM", "MSFT"]
    assert {LSTM, HAR, MIX, MIX_EARNINGS, ORACLE} <= set(walk.pooled.contenders)
    assert walk.first_day == date(2008, 7, 1)
    assert walk.pooled.pinball_ratio(ORACLE, HAR) < walk.pooled.pinball_ratio(LSTM, HAR) < 1.1


def test_a_stretch_that_nobody_can_be_judged_on_is_refused(
    universe_bars: Bars, universe_reports: dict[str, Reports]
) -> None:
    with pytest.raises(StockcastError, match=r"--from \d{4}-\d\d-\d\d") as refused:
        walk_forward_universe(universe_bars, universe_reports, date(2005, 6, 1), date(2005, 7, 1))
    # From the day that it names on there is something to judge, and before it nothing.
    earliest = date.fromisoformat(str(refused.value).split("--from ")[1][:10])
    histories = {ticker: prepare(bars) for ticker, bars in universe_bars.items()}
    everyone, config = set(histories), ModelConfig()
    assert years_of(histories, everyone, everyone, earliest, date(2008, 12, 1), config)
    with pytest.raises(StockcastError):
        years_of(histories, everyone, everyone, date(2005, 1, 3), earliest - timedelta(days=1), config)
    short = {ticker: bars.head(60) for ticker, bars in universe_bars.items()}
    with pytest.raises(StockcastError, match="give longer histories than the 60 sessions"):
        walk_forward_universe(short, {}, None, date(2008, 12, 1))
    with pytest.raises(StockcastError, match="no bars of TSLA"):
        walk_forward_universe(universe_bars, {}, date(2008, 6, 1), date(2008, 7, 1), train_on=["TSLA"])
