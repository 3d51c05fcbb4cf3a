"""Features are exact, scale-free, and know nothing of the future."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.features import (
    EWMA_DECAY,
    FEATURE_NAMES,
    LOOKBACK,
    History,
    Needed,
    features,
    prepare,
    prepare_many,
)
from stockcast_assets_tests.forecasting.conftest import made_up_bars

BARS = made_up_bars(420)
ROWS = np.arange(len(BARS))


def known_at_the_time(history: History) -> dict[str, np.ndarray]:
    """By name a row per session, each of what was known at its end."""
    rows = np.arange(len(history))
    return {
        **{name: getattr(history, name) for name in ("features", "har", "variance", "ewma", "close", "log_close")},
        **{f"std_{window}": history.std(window, rows) for window in (60, 250)},
    }


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


@settings(max_examples=60)
@given(
    cut=st.integers(1, len(BARS)),
    spoil=st.sampled_from(["truncated", "shuffled", "absurd"]),
    seed=st.integers(0, 2**31),
)
def test_the_future_changes_no_bit(cut: int, spoil: str, seed: int) -> None:
    changed = BARS.copy()
    prices = ["open", "high", "low", "close", "adj_close", "volume"]
    rng = np.random.default_rng(seed)
    if spoil == "truncated":
        changed = changed.iloc[:cut]
    elif spoil == "shuffled":
        order = cut + rng.permutation(len(BARS) - cut)
        changed.loc[changed.index[cut:], prices] = BARS.loc[order, prices].to_numpy()
    else:
        changed.loc[changed.index[cut:], prices] = (BARS.loc[BARS.index[cut:], prices] * 10**9).astype("int64") + 1
    ours, theirs = prepare(BARS), prepare(changed)
    for name, values in known_at_the_time(ours).items():
        assert same_bits(values[:cut], known_at_the_time(theirs)[name][:cut]), name
    known_targets = max(0, cut - HORIZON)
    assert same_bits(ours.targets[:known_targets], theirs.targets[:known_targets])


def test_prices_in_another_currency_give_the_same_features() -> None:
    scaled = BARS.copy()
    scaled[["open", "high", "low", "close", "adj_close"]] *= 1024.0
    np.testing.assert_allclose(prepare(scaled).features, prepare(BARS).features, rtol=1e-9, atol=1e-9)


def test_a_split_in_adj_close_only_changes_nothing_but_its_own_factor() -> None:
    """Bars that are not split-adjusted but whose adj_close is give the features of adjusted bars."""
    raw = BARS.copy()
    raw.loc[:200, ["open", "high", "low", "close"]] *= 7
    np.testing.assert_allclose(prepare(raw).features, prepare(BARS).features, rtol=1e-9, atol=1e-9)


def test_values_by_hand() -> None:
    history = prepare(BARS)
    frame = features(BARS)
    adjusted = BARS["adj_close"]
    factor = adjusted / BARS["close"]
    returns = np.log(adjusted).diff()
    np.testing.assert_allclose(frame["log_return"], returns, equal_nan=True, atol=1e-12)
    np.testing.assert_allclose(frame["gap"], np.log(BARS["open"] * factor / adjusted.shift()), atol=1e-12)
    np.testing.assert_allclose(
        frame["relative_volume"],
        np.log((BARS["volume"] / BARS["volume"].rolling(20).mean()).clip(lower=0.05)),
        atol=1e-9,
    )
    np.testing.assert_allclose(frame["sma_20_distance"], np.log(adjusted / adjusted.rolling(20).mean()), atol=1e-9)
    np.testing.assert_allclose(history.std(60, ROWS[60:]), returns.rolling(60).std()[60:], rtol=1e-9)
    np.testing.assert_allclose(history.std(250, ROWS[20:250]), returns.expanding(20).std()[20:250], rtol=1e-6)
    np.testing.assert_allclose(history.std(250, ROWS[250:]), returns.rolling(250).std()[250:], rtol=1e-9)
    assert np.isnan(history.std(60, ROWS[:20])).all()
    seed = (returns[1:21] ** 2).mean()
    expected = EWMA_DECAY * seed + (1 - EWMA_DECAY) * returns[21] ** 2
    assert history.ewma[21] == pytest.approx(np.sqrt(expected), rel=1e-12)
    assert np.isnan(history.ewma[:20]).all()
    assert history.targets[100, 4] == pytest.approx(np.log(adjusted[105] / adjusted[100]))
    assert np.isnan(history.targets[-HORIZON:, -1]).all()
    assert list(frame.columns) == list(FEATURE_NAMES)


def test_first_row_is_the_first_complete_one() -> None:
    history = prepare(BARS)
    complete = np.isfinite(np.hstack([history.features, history.har])).all(axis=1)
    assert not complete[: history.first_row].any()
    assert complete[history.first_row :].all()
    assert prepare(BARS.iloc[:10]).first_row == 10


def test_prices_that_never_move_stay_finite() -> None:
    flat = BARS.assign(open=5.0, high=5.0, low=5.0, close=5.0, adj_close=5.0, volume=0)
    history = prepare(flat)
    assert history.first_row < 100
    assert np.isfinite(history.features[history.first_row :]).all()


@pytest.mark.parametrize(
    ("bars", "message"),
    [
        (BARS.iloc[:0], "no bars"),
        (BARS.iloc[::-1], "sort them"),
        (pd.concat([BARS, BARS.tail(1)]), "sort them"),
        (pd.concat([BARS, BARS.assign(ticker="OTHER")]), "1 other tickers"),
        (BARS.assign(low=BARS["low"].where(BARS.index != 7, -1.0)), str(BARS["date"][7].date())),
        (BARS.assign(close=BARS["close"].where(BARS.index != 7)), str(BARS["date"][7].date())),
    ],
)
def test_malformed_bars_are_refused_in_one_sentence(bars: pd.DataFrame, message: str) -> None:
    with pytest.raises(StockcastError, match=message):
        prepare(bars)


@pytest.mark.parametrize("first", [0, 259, 261, 500, 699])
def test_cutting_off_the_past_changes_no_bit_of_what_is_needed(first: int) -> None:
    bars = made_up_bars(700)
    whole, cut = prepare(bars), prepare(bars, first)
    assert cut.skipped == max(0, first - LOOKBACK)
    assert len(cut) == len(whole) - cut.skipped
    # Cut once more, its volatilities see as far back as before.
    twice = cut.since(first - cut.skipped)
    for name, values in known_at_the_time(whole).items():
        assert same_bits(known_at_the_time(cut)[name][first - cut.skipped :], values[first:]), name
        assert same_bits(known_at_the_time(twice)[name], values[first:]), name
    assert same_bits(cut.targets[first - cut.skipped :], whole.targets[first:])
    assert same_bits(twice.targets, whole.targets[first:])
    assert list(cut.dates) == list(whole.dates[cut.skipped :])
    assert cut.since(first - cut.skipped).skipped == first


@settings(max_examples=30)
@given(rows=st.lists(st.integers(0, len(BARS) - 1), min_size=1, max_size=5), window=st.sampled_from([60, 250]))
def test_a_sessions_deviation_is_the_same_whatever_other_sessions_are_asked_for(rows: list[int], window: int) -> None:
    history = prepare(BARS)
    assert same_bits(history.std(window, np.array(rows)), history.std(window, ROWS)[rows])


@settings(max_examples=10)
@given(
    asked=st.lists(st.tuples(st.integers(1, len(BARS)), st.floats(0, 1)), min_size=1, max_size=5),
    before=st.integers(0, 35),
)
def test_a_ticker_beside_others_has_the_bits_it_has_alone(asked: list[tuple[int, float]], before: int) -> None:
    """Tickers of different lengths, cut at different sessions, more of them than one set of arrays holds."""
    others = [Needed(BARS, 300, len(BARS))] * 35
    drawn = [Needed(BARS, int(share * (end - 1)), end) for end, share in asked]
    together = prepare_many([*others[:before], *drawn, *others[before:]])[before : before + len(drawn)]
    for (bars, first, end), ours in zip(drawn, together, strict=True):
        alone = prepare(bars.iloc[:end], first)
        assert (ours.skipped, list(ours.dates)) == (alone.skipped, list(alone.dates))
        for name in ("features", "har", "variance", "ewma", "close", "log_close"):
            assert same_bits(getattr(ours, name), getattr(alone, name)), name
