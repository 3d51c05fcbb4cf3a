"""A universe's month: nothing of it depends on what came later, and any ticker is judged on its networks."""

import hashlib
import io
import pickle
from dataclasses import replace
from datetime import date
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.config import HORIZON, MEDIAN, QUANTILES, ModelConfig
from stockcast_assets.forecasting.evaluation.gate import MIN_CASES, NOTHING
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.npz import ModelFileError, Reference
from stockcast_assets.forecasting.serving.forecaster import published_quantiles
from stockcast_assets.forecasting.serving.predict import forecast
from stockcast_assets.forecasting.universe import fitting
from stockcast_assets.forecasting.universe.artifact import month_bytes, month_of_bytes, own_arrays, own_of_arrays
from stockcast_assets.forecasting.universe.contenders import BASELINES, fit_own, quantiles_over
from stockcast_assets.forecasting.universe.earnings import Reports
from stockcast_assets.forecasting.universe.forecaster import UniverseForecaster
from stockcast_assets.forecasting.universe.inputs import Series, Surroundings, series_of
from stockcast_assets.forecasting.universe.market import market_from, market_of
from stockcast_assets.forecasting.universe.month import MonthModel, fit_month, origins, teachers
from stockcast_assets.forecasting.universe.proof import Beside, admitted_by, judge, judge_pooled
from stockcast_assets.forecasting.universe.start import level_of
from stockcast_assets.forecasting.universe.training import Networks, fingerprint, prepare_training
from stockcast_assets.methods import AVERAGE, HAR_EARNINGS, LABELS, LSTM, MIX_EARNINGS, OF_NETWORK, VOL60
from stockcast_assets.tables import BESIDE_COLUMNS, MARKET_STATE, QUANTILE_COLUMNS, SIGMA_COLUMNS

Bars = dict[str, pd.DataFrame]
MONTH = date(2008, 12, 1)
TEACHERS = ("AAPL", "GOOG", "MSFT")
NETWORKS: Networks = (("variance", 1), ("pinball", 1))
CONFIG = ModelConfig(validation_sessions=60)
NOWHERE = Reference("0" * 32, "0" * 64)


def series(bars: Bars, reports: dict[str, Reports]) -> dict[str, Series]:
    """The tickers beside the market that the teachers are."""
    histories = {ticker: prepare(of_ticker) for ticker, of_ticker in bars.items()}
    return series_of(histories, market_of({t: histories[t] for t in TEACHERS}), reports)


def told_by(reports: dict[str, Reports], day: np.datetime64) -> dict[str, Reports]:
    """The reports that are known at the end of a day."""
    return {t: Reports(of.sessions[of.known <= day], of.known[of.known <= day]) for t, of in reports.items()}


@pytest.fixture(scope="module")
def seen(universe_bars: Bars, universe_reports: dict[str, Reports]) -> dict[str, Series]:
    return series(universe_bars, universe_reports)


def fit(seen: dict[str, Series], month: date, trained: list[int], earlier: MonthModel | None = None) -> MonthModel:
    """The month of the teachers; `trained` becomes the number of networks that were fitted for it."""
    trained.append(0)

    def count(done: int, total: int) -> None:
        trained[-1] = total

    return fit_month(
        {ticker: seen[ticker] for ticker in seen if ticker in TEACHERS}, month, CONFIG, networks=NETWORKS,
        earlier=earlier.vintages if earlier else (), progress=count,
    )  # fmt: skip


@pytest.fixture(scope="module")
def month(seen: dict[str, Series]) -> MonthModel:
    return fit(seen, MONTH, [])


def test_the_proof_begins_in_januaries_that_stay_where_they_are() -> None:
    assert origins(date(2013, 3, 1)) == [*(date(year, 1, 1) for year in range(2010, 2014)), date(2013, 3, 1)]
    assert origins(date(2013, 1, 1)) == [date(year, 1, 1) for year in range(2010, 2014)]


def test_each_vintage_knows_what_was_before_its_origin_and_judges_until_the_next(
    seen: dict[str, Series], month: MonthModel
) -> None:
    assert [vintage.origin for vintage in month.vintages] == [date(2007, 1, 1), date(2008, 1, 1), MONTH]
    assert {vintage.members for vintage in month.vintages} == {TEACHERS}
    history = seen["IBM"].history
    folds = month.folds(history, CONFIG)
    judged = np.concatenate([fold.test for _, fold in folds])
    assert (np.diff(judged) == 1).all()
    assert judged[-1] == len(history) - HORIZON - 1
    for vintage, fold in folds:
        assert history.dates[fold.known[-1] + HORIZON] < pd.Timestamp(vintage.origin) <= history.dates[fold.test[0]]


@pytest.mark.parametrize("way", ["truncated", "spoilt", "turned"])
def test_what_comes_after_the_month_began_changes_no_bit(
    universe_bars: Bars, universe_reports: dict[str, Reports], month: MonthModel, way: str
) -> None:
    """All is made of the same to the last bit, so that nothing is fitted anew."""
    prices = ["open", "high", "low", "close", "adj_close"]
    changed = {}
    for ticker, bars in universe_bars.items():
        later = bars["date"] >= pd.Timestamp(MONTH)
        spoilt = bars.assign(**{name: bars[name].where(~later, bars[name] * 3) for name in prices})
        changed[ticker] = bars[~later].reset_index(drop=True) if way == "truncated" else spoilt
    if way == "turned":
        changed = dict(reversed(universe_bars.items()))
    told = told_by(universe_reports, np.datetime64(MONTH, "D") - 1)
    trained: list[int] = []
    again = fit(series(changed, told), MONTH, trained, month)
    assert trained == [0]
    assert month_bytes(again) == month_bytes(month)


def test_the_next_month_keeps_the_januaries(universe_bars: Bars, seen: dict[str, Series], month: MonthModel) -> None:
    def made_of(series: dict[str, Series], origin: date) -> str:
        folds = teachers(series, origin, CONFIG)
        return fingerprint({ticker: series[ticker] for ticker in folds}, folds, NETWORKS)

    those = {ticker: seen[ticker] for ticker in TEACHERS}
    kept = {vintage.origin: vintage.fingerprint for vintage in month.vintages}
    january = {origin: made_of(those, origin) for origin in origins(date(2009, 1, 1)) if origin.year > 2006}
    assert {origin: january[origin] for origin in kept if origin in january} == {
        origin: found for origin, found in kept.items() if origin != MONTH
    }
    assert january[date(2009, 1, 1)] not in kept.values()
    # Another member, or a bar that was corrected, makes another model.
    assert made_of(seen, MONTH) != kept[MONTH]
    corrected = series({**universe_bars, "AAPL": universe_bars["AAPL"].iloc[1:].reset_index(drop=True)}, {})
    assert made_of({ticker: corrected[ticker] for ticker in TEACHERS}, MONTH) != kept[MONTH]


@pytest.mark.parametrize("name", ["log_close", "variance", "har", "market", "offsets", "steps", "ahead"])
def test_a_fingerprint_is_of_every_number_that_was_known_and_of_none_that_came_later(
    seen: dict[str, Series], name: str
) -> None:
    those, folds = {ticker: seen[ticker] for ticker in TEACHERS}, teachers(seen, date(2008, 1, 1), CONFIG)
    folds = {ticker: folds[ticker] for ticker in TEACHERS}
    one, fold = seen["AAPL"], folds["AAPL"]
    outcomes = name in ("log_close", "variance")

    def changed(row: int) -> dict[str, Series]:
        of = one.history if hasattr(one.history, name) else one
        array = getattr(of, name).copy()
        array[row] += 1
        spoilt = replace(of, **{name: array})
        return {**those, "AAPL": spoilt if of is one else replace(one, history=spoilt)}

    before, last = fingerprint(those, folds), int(fold.known[-1]) + (HORIZON if outcomes else 0)
    for row in (int(fold.known[0]), int(fold.train[-1]), last):
        assert fingerprint(changed(row), folds) != before
    assert fingerprint(changed(last + 1), folds) == before


def test_what_networks_are_prepared_from_is_all_in_their_fingerprint(seen: dict[str, Series]) -> None:
    folds = {ticker: teachers(seen, date(2008, 1, 1), CONFIG)[ticker] for ticker in TEACHERS}
    those, other = {ticker: seen[ticker] for ticker in TEACHERS}, {}
    for ticker, one in those.items():
        end, history = int(folds[ticker].known[-1]) + 1, one.history
        told, settled = slice(end, None), slice(end + HORIZON, None)
        of_history = {"log_close": settled, "variance": settled, "har": told}
        of_history |= dict.fromkeys(("features", "ewma", "close"), slice(None))
        of_series = dict.fromkeys(("market", "offsets", "steps", "ahead"), told)

        def spoilt(of: object, parts: dict[str, slice]) -> dict[str, np.ndarray]:
            arrays = {name: getattr(of, name).copy() for name in parts}
            for name, rows in parts.items():
                arrays[name][rows] = 3
            return arrays

        past = replace(history, **spoilt(history, of_history), skipped=history.skipped + 1)
        other[ticker] = replace(one, history=past, **spoilt(one, of_series))
    assert fingerprint(other, folds) == fingerprint(those, folds)
    assert pickle.dumps(prepare_training(other, folds)) == pickle.dumps(prepare_training(those, folds))


def test_a_month_is_its_bytes(seen: dict[str, Series], month: MonthModel) -> None:
    data = month_bytes(month)
    again = month_of_bytes(data, hashlib.sha256(data).hexdigest())
    assert month_bytes(again) == data
    rows = np.arange(700, 740)
    own = fit_own(seen["IBM"], np.arange(80, 690), month.newest.model)
    kept = own_of_arrays(own_arrays(own), again.newest.model.pooled)
    one, other = (
        own.quantiles(seen["IBM"], rows, month.newest.model),
        kept.quantiles(seen["IBM"], rows, again.newest.model),
    )
    assert set(one) == {LSTM, *BASELINES}
    for name in one:
        assert np.array_equal(one[name], other[name]), name


def test_a_file_of_a_release_without_the_form_of_all_tickers_is_read_and_gives_each_its_own(
    seen: dict[str, Series], month: MonthModel
) -> None:
    newest = month.newest
    unshaped = replace(newest.model, pooled=replace(newest.model.pooled, shape=None))
    data = month_bytes(MonthModel((replace(newest, model=unshaped),)))
    again = month_of_bytes(data, hashlib.sha256(data).hexdigest())
    assert again.newest.model.pooled.shape is None
    assert month_bytes(again) == data
    known = np.arange(80, 690)
    own, shrunk = (fit_own(seen["IBM"], known, model) for model in (again.newest.model, newest.model))
    alone = quantiles_over(seen["IBM"], known, own.start.sigma(seen["IBM"], known))
    assert np.array_equal(own.shapes[MIX_EARNINGS], alone)
    # Between its own and that of all, nearer to that of all: a thousand sessions count more than these.
    assert newest.model.pooled.shape is not None
    level = level_of(seen["IBM"], known, own.start.sigma(seen["IBM"], known))[:, None]
    of_all = level * newest.model.pooled.shape
    assert np.abs(shrunk.shapes[MIX_EARNINGS] - of_all).max() < np.abs(alone - of_all).max() / 2
    # What knows the ticker alone keeps its own.
    assert np.array_equal(own.shapes[HAR_EARNINGS], shrunk.shapes[HAR_EARNINGS])


@pytest.fixture(scope="module")
def stored(month: MonthModel) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(month_bytes(month))) as archive:
        return dict(archive)


@given(st.data())
def test_a_file_that_is_not_ours_is_refused_in_a_sentence(stored: dict[str, np.ndarray], data: st.DataObject) -> None:
    names = sorted(stored)
    changed = dict(stored)
    name = data.draw(st.sampled_from(names))
    way = data.draw(st.sampled_from(("lacking", "longer", "nan", "text")))
    if way == "lacking":
        del changed[name]
    elif way == "longer":
        changed[name] = np.concatenate([stored[name], stored[name]])
    elif way == "text":
        changed[name] = np.array(["x"])
    else:
        changed[name] = np.full(stored[name].shape, np.nan)
    buffer = io.BytesIO()
    np.savez(buffer, **changed)
    content = buffer.getvalue()
    with pytest.raises(ModelFileError, match="materialise universe_model"):
        month_of_bytes(content, hashlib.sha256(content).hexdigest())


def test_a_file_with_another_digest_or_with_scales_beyond_any_number_is_refused(
    stored: dict[str, np.ndarray],
) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **{**stored, "0.state_out": stored["0.state_out"] + np.float32(100)})
    content = buffer.getvalue()
    with pytest.raises(ModelFileError, match="instead of"):
        month_of_bytes(content, "0" * 64)
    with pytest.raises(ModelFileError, match="beyond any number"):
        month_of_bytes(content, hashlib.sha256(content).hexdigest())


def test_a_ticker_that_nobody_learnt_from_is_judged_against_every_baseline(
    universe_bars: Bars, universe_reports: dict[str, Reports], seen: dict[str, Series], month: MonthModel
) -> None:
    found = judge(seen["IBM"], month, NOWHERE, CONFIG)
    assert found is not None
    assert found.evaluation.contenders[0] == LSTM
    assert {"random_walk", "har", "har_quarterly", *BASELINES} <= set(found.evaluation.contenders)
    assert found.evaluation.cases.sum() > 400
    assert found.decision.method in (*OF_NETWORK, *(f"naive_{name}" for name in found.evaluation.contenders[2:]))
    # The same beside other tickers, in another order and from its own bars alone.
    few = {ticker: universe_bars[ticker] for ticker in (*reversed(TEACHERS), "IBM")}
    again = judge(series(few, universe_reports)["IBM"], month, NOWHERE, CONFIG)
    assert again is not None
    assert np.array_equal(found.evaluation.scores, again.evaluation.scores, equal_nan=True)
    assert found.to_bytes() == again.to_bytes()


def test_what_a_proof_says_of_a_day_depends_on_nothing_after_its_outcomes(
    universe_bars: Bars, universe_reports: dict[str, Reports], seen: dict[str, Series], month: MonthModel
) -> None:
    whole = judge(seen["IBM"], month, NOWHERE, CONFIG)
    cut = {ticker: bars.iloc[:-60].reset_index(drop=True) for ticker, bars in universe_bars.items()}
    until = np.datetime64(cut["IBM"]["date"].iloc[-1], "D")
    part = judge(series(cut, told_by(universe_reports, until))["IBM"], month, NOWHERE, CONFIG)
    assert whole is not None
    assert part is not None
    n = len(part.evaluation.dates)
    assert n == len(whole.evaluation.dates) - 60
    for name, losses in part.evaluation.pinball.items():
        assert np.array_equal(losses, whole.evaluation.pinball[name][:n]), name


def test_a_ticker_that_came_late_is_judged_from_the_day_on_that_it_has_enough(
    universe_bars: Bars, universe_reports: dict[str, Reports], month: MonthModel
) -> None:
    def of_last(sessions: int) -> Series:
        late = universe_bars["IBM"].tail(sessions).reset_index(drop=True)
        return series({**universe_bars, "IBM": late}, universe_reports)["IBM"]

    assert judge(of_last(200), month, NOWHERE, CONFIG) is None
    young = judge(of_last(330), month, NOWHERE, CONFIG)
    assert young is not None
    assert not young.decision.promoted
    assert "walk-forward cases" in young.decision.reason


@pytest.fixture(scope="module")
def published(universe_bars: Bars, universe_reports: dict[str, Reports], month: MonthModel) -> dict[str, TrainedModel]:
    """The parts of a ticker that was learnt from and of one that was not, by what is known when the month begins."""
    before = {
        ticker: bars[bars["date"] < pd.Timestamp(MONTH)].reset_index(drop=True)
        for ticker, bars in universe_bars.items()
    }
    known = series(before, told_by(universe_reports, np.datetime64(MONTH, "D") - 1))
    judged = {ticker: judge(known[ticker], month, NOWHERE, CONFIG) for ticker in ("AAPL", "IBM")}
    return {ticker: trained for ticker, trained in judged.items() if trained is not None}


def around(bars: Bars, reports: dict[str, Reports]) -> Surroundings:
    return Surroundings(market_of({ticker: prepare(bars[ticker]) for ticker in TEACHERS}), reports)


def by(trained: TrainedModel, method: str) -> UniverseForecaster:
    assert isinstance(trained.forecaster, UniverseForecaster)
    return replace(trained.forecaster, method=method)


@pytest.mark.parametrize("method", [*OF_NETWORK, *(f"naive_{name}" for name in ("har", *BASELINES))])
def test_a_forecast_is_a_function_of_its_model_and_of_what_was_known_on_its_day(
    universe_bars: Bars, universe_reports: dict[str, Reports], published: dict[str, TrainedModel], method: str
) -> None:
    """The same bits in a range and alone, beside others and by itself, whatever comes later."""
    models = {ticker: by(trained, method) for ticker, trained in published.items()}
    bars = {ticker: universe_bars[ticker] for ticker in models}
    days = {ticker: list(of["date"][of["date"] >= pd.Timestamp(MONTH)])[:15] for ticker, of in bars.items()}
    together = forecast(models, bars, days, around(universe_bars, universe_reports))
    assert set(together["method"]) == {method}
    assert (together["close_p10"] < together["close_p90"]).all()
    # The steps that it is judged beside are stored with it, whatever is published.
    for name, columns in BESIDE_COLUMNS.items():
        assert together[list(columns)].notna().all(axis=None)
        if method == f"naive_{name}":
            assert np.array_equal(together[list(columns)], together[list(QUANTILE_COLUMNS)])
    # What is cut off because no forecast looks at it changes no bit.
    whole = series(universe_bars, universe_reports)["IBM"]
    rows = whole.history.dates.searchsorted(pd.DatetimeIndex(days["IBM"]))
    uncut = published_quantiles([models["IBM"]], [whole.history], [whole], [rows])[0]
    closes = whole.history.close[rows][:, None] * np.exp(uncut[:, :, MEDIAN])
    of_ibm = together[together["ticker"] == "IBM"]
    assert np.array_equal(of_ibm["close_p50"], closes.ravel())
    normal = models["IBM"].beside(whole, rows)[VOL60][:, :, -1] / NormalDist().inv_cdf(QUANTILES[-1])
    assert np.array_equal(of_ibm[SIGMA_COLUMNS[VOL60]], normal.ravel())
    for place in (0, 14):
        day = days["IBM"][place]
        prices = ["open", "high", "low", "close", "adj_close"]
        spoilt = {
            ticker: of.assign(**{name: of[name].where(of["date"] <= day, of[name] * 2) for name in prices})
            for ticker, of in universe_bars.items()
        }
        told = told_by(universe_reports, np.datetime64(day, "D"))
        cut = {ticker: of[of["date"] <= day].reset_index(drop=True) for ticker, of in universe_bars.items()}
        for changed in (spoilt, cut):
            alone = forecast({"IBM": models["IBM"]}, {"IBM": changed["IBM"]}, {"IBM": [day]}, around(changed, told))
            same = together[(together["ticker"] == "IBM") & (together["date"] == day)].reset_index(drop=True)
            pd.testing.assert_frame_equal(alone, same, check_exact=True)


def test_a_forecast_of_a_universe_without_a_market_says_what_lacks(
    universe_bars: Bars, published: dict[str, TrainedModel]
) -> None:
    day = universe_bars["IBM"]["date"].iloc[-1]
    with pytest.raises(StockcastError, match="market_days"):
        forecast({"IBM": by(published["IBM"], LSTM)}, universe_bars, {"IBM": [day]})


def test_a_month_is_judged_on_its_members_together_and_then_each_ticker(
    seen: dict[str, Series], month: MonthModel
) -> None:
    proof = judge_pooled(seen, month, CONFIG)
    found = proof.summary()
    assert proof.judged == TEACHERS
    assert (found["n_judged"], found["n_cases"]) == (3, int(proof.evaluation.cases.sum()))
    # Each member's own best is no worse than any one baseline of all.
    assert found["pinball_ratio_best"] >= max(found["pinball_ratio_start"], found["pinball_ratio_har"]) - 1e-6
    usable = month.newest.learnt and found["n_cases"] >= MIN_CASES and found["pinball_ratio_start_low"] <= 1
    shown = found["pinball_ratio_best_high"] < 1
    assert found["admitted"] == (NOTHING if not usable else LSTM if shown else AVERAGE)
    assert found["promoted"] == (found["admitted"] == LSTM)
    assert admitted_by(found) == found["admitted"]
    # A row of an earlier release told nothing of luck.
    assert [admitted_by({"promoted": promoted, "admitted": None}) for promoted in (True, False)] == [AVERAGE, NOTHING]
    unlearnt = MonthModel((*month.vintages[:-1], replace(month.newest, learnt=False)))
    refused = judge_pooled(seen, unlearnt, CONFIG)
    assert not refused.promoted
    assert "improved nothing on the validation sessions" in refused.reason
    # Whom the month never saw is judged beside it, too.
    beside = Beside(seen["IBM"], month, NOWHERE, admitted=NOTHING, config=CONFIG)
    assert beside.has_cases
    decision = beside.judged(None).decision
    assert not decision.promoted
    assert "over all tickers of its universe" in decision.reason
    # The month's own fit has no days after it yet.
    early = {ticker: one for ticker, one in seen.items() if ticker in TEACHERS}
    alone = judge_pooled(early, MonthModel((replace(month.newest, origin=date(2009, 6, 1)),)), CONFIG)
    assert (alone.judged, alone.promoted, alone.summary()["n_cases"]) == ((), False, 0)


def test_the_average_is_of_the_network_and_its_start_with_a_calibration_of_its_own(
    seen: dict[str, Series], month: MonthModel
) -> None:
    learnt = MonthModel((*month.vintages[:-1], replace(month.newest, learnt=True)))
    found, alone = (judge(seen["IBM"], learnt, NOWHERE, CONFIG, admitted=admitted) for admitted in (AVERAGE, LSTM))
    assert found is not None
    assert alone is not None
    assert (found.decision.method, alone.decision.method) == (AVERAGE, LSTM), found.decision.reason
    rows = np.arange(len(seen["IBM"].history) - 5, len(seen["IBM"].history))
    mean, network, start = (by(found, name).raw(seen["IBM"], rows) for name in (AVERAGE, LSTM, "naive_mix_earnings"))
    assert np.array_equal(mean, (network + start) / 2)
    states = [by(trained, "lstm").calibration.log_factors for trained in (found, alone)]
    assert not np.array_equal(*states), "each is calibrated on what it said itself"


def test_where_no_day_of_the_market_is_recorded_a_sentence_says_what_to_do(universe_bars: Bars) -> None:
    nothing = Surroundings(market_from(MARKET_STATE.empty()), {})
    with pytest.raises(StockcastError, match="IBM has no market to be placed in: materialise market_days"):
        nothing.series(prepare(universe_bars["IBM"]), universe_bars["IBM"])


def test_a_part_is_its_bytes_beside_the_networks_it_names(
    seen: dict[str, Series], published: dict[str, TrainedModel], month: MonthModel
) -> None:
    trained = published["IBM"]
    asked: list[Reference] = []

    def universe(reference: Reference) -> MonthModel:
        asked.append(reference)
        return month

    again = TrainedModel.from_bytes(trained.to_bytes(), trained.sha256, universe)
    assert asked == [NOWHERE]
    assert again.to_bytes() == trained.to_bytes()
    rows = np.arange(len(seen["IBM"].history) - 5, len(seen["IBM"].history))
    for name in (*OF_NETWORK, *(f"naive_{name}" for name in BASELINES)):
        one, other = (by(of, name).raw(seen["IBM"], rows) for of in (trained, again))
        assert np.array_equal(one, other), name
    with pytest.raises(ModelFileError, match="not at hand"):
        TrainedModel.from_bytes(trained.to_bytes(), trained.sha256)
    assert set(trained.evaluation.contenders) <= set(LABELS)


def test_one_ticker_is_no_universe(seen: dict[str, Series]) -> None:
    with pytest.raises(StockcastError, match="needs 2 tickers"):
        fit_month({"AAPL": seen["AAPL"]}, MONTH, CONFIG)


def test_of_a_large_universe_each_epoch_draws_other_rows(
    seen: dict[str, Series], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepare_training(seen, teachers(seen, MONTH, CONFIG)).data
    generator = np.random.default_rng(0)
    all_of_them = np.concatenate(list(fitting._batches(data.known, generator)))
    monkeypatch.setattr(fitting, "MOST_CHUNKS", 2 * fitting.CHUNKS_PER_STEP)
    first, second = (np.concatenate(list(fitting._batches(data.known, generator))) for _ in range(2))
    assert len(first) == len(second) == 2 * fitting.CHUNKS_PER_STEP < len(all_of_them)
    assert set(first) != set(second)
