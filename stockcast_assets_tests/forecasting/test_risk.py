"""Scenarios and the risk of holdings as plain functions: laws of the measures, no peeking, and files that are wrong."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, QUANTILES
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.risk import scenarios
from stockcast_assets.forecasting.risk.holdings import read_holdings
from stockcast_assets.forecasting.risk.portfolio import (
    LEVELS,
    Holding,
    backtest,
    contributions,
    gains_of,
    judged,
    tail,
    value_at_risk_contributions,
    worst_stretches,
)
from stockcast_assets.forecasting.risk.scenarios import DRAWS, Residuals, digest_of, draws, sessions_drawn
from stockcast_assets_tests.forecasting.conftest import made_up_bars

SEEDS = st.integers(0, 2**32 - 1)
BARS = {ticker: made_up_bars(700, seed, ticker) for seed, ticker in enumerate(("AAA", "BBB", "YOUNG"))}
BARS["YOUNG"] = BARS["YOUNG"].tail(400).reset_index(drop=True)
SAID = np.array(norm.ppf(QUANTILES))[None, :] * 0.02 * np.sqrt(np.arange(1, HORIZON + 1))[:, None] + 0.001


def residuals(ticker: str, upto: str = "2013-03-01") -> Residuals:
    bars = BARS[ticker]
    return Residuals.of(prepare(bars[bars["date"] <= upto].reset_index(drop=True)))


def test_a_ticker_s_scenarios_have_its_published_median_and_interval_and_lack_what_it_lacks() -> None:
    day = np.datetime64("2013-02-15")
    past = {ticker: residuals(ticker) for ticker in BARS}
    sessions = sessions_drawn(past.values(), day)
    assert (np.diff(sessions) > np.timedelta64(0)).all()
    for own in past.values():
        drawn = draws(own, sessions, SAID, day)
        there = np.isfinite(drawn).all(axis=1)
        assert (there == np.isfinite(drawn).any(axis=1)).all()
        assert (there == np.isin(sessions, own.days[own.known_on <= day])).all()
        low, middle, high = np.quantile(drawn[there], (0.05, 0.5, 0.95), axis=0)
        np.testing.assert_allclose(middle, SAID[:, 3])
        np.testing.assert_allclose(high - low, SAID[:, -1] - SAID[:, 0])
    assert scenarios.unpacked(scenarios.packed(sessions)).tolist() == sessions.tolist()


@pytest.mark.parametrize("day", ["2013-01-10", "2012-09-28"])
def test_what_happens_after_the_day_changes_no_bit(day: str) -> None:
    now = np.datetime64(day)
    worlds = [{t: residuals(t, last) for t in BARS} for last in (day, "2013-03-01")]
    sessions = [sessions_drawn(world.values(), now) for world in worlds]
    assert sessions[0].tolist() == sessions[1].tolist()
    # The last scenario is a session whose ten outcomes have just become known.
    days = BARS["AAA"]["date"]
    assert sessions[0][-1] == np.datetime64(days[days <= day].iloc[-1 - HORIZON].date())
    assert (
        len({digest_of({t: draws(own, sessions[0], SAID, now) for t, own in world.items()}) for world in worlds}) == 1
    )


@settings(max_examples=80, deadline=None)
@given(
    seed=SEEDS,
    n=st.integers(1, 400),
    positions=st.integers(1, 6),
    level=st.sampled_from(LEVELS),
    more=st.floats(0.1, 9),
)
def test_the_laws_of_a_tail(seed: int, n: int, positions: int, level: float, more: float) -> None:
    rng = np.random.default_rng(seed)
    gains = rng.standard_t(3, size=(positions, n)).round(rng.integers(0, 4))
    total = gains.sum(axis=0)
    found = tail(total, level)
    # The shortfall is no smaller than the value at risk, which no more than the promised share exceeds.
    assert found.expected_shortfall >= found.value_at_risk - 1e-9
    assert (-total > found.value_at_risk).mean() <= level + 1e-12
    assert found.expected_shortfall <= -total.min() + 1e-9
    # Positions add up; a sum has no more shortfall than its parts; money in other units is the same money.
    shares = contributions(gains, level)
    assert shares.sum() == pytest.approx(found.expected_shortfall)
    assert found.expected_shortfall <= sum(tail(own, level).expected_shortfall for own in gains) + 1e-9
    assert tail(more * total, level).expected_shortfall == pytest.approx(more * found.expected_shortfall)
    assert tail(total - more, level).value_at_risk == pytest.approx(found.value_at_risk + more)


def test_the_contribution_is_what_a_little_more_of_the_position_adds() -> None:
    rng = np.random.default_rng(1)
    gains = rng.normal(size=(3, 1000)) * np.array([1.0, 2.0, -0.5])[:, None]
    step = 1e-6
    for place, share in enumerate(contributions(gains, 0.05)):
        more = gains.sum(axis=0) + step * gains[place]
        assert (tail(more, 0.05)[2] - tail(gains.sum(axis=0), 0.05)[2]) / step == pytest.approx(share, rel=1e-4)


@settings(max_examples=150, deadline=None)
@given(
    seed=SEEDS,
    n=st.integers(1, 400),
    positions=st.integers(1, 6),
    level=st.sampled_from([*LEVELS, 0.5]),
    more=st.floats(1e-3, 1e3),
    hedged=st.booleans(),
)
def test_the_parts_of_a_value_at_risk_add_up_to_it(
    seed: int, n: int, positions: int, level: float, more: float, hedged: bool
) -> None:
    rng = np.random.default_rng(seed)
    gains = rng.standard_t(3, size=(positions, n)).round(rng.integers(0, 4))
    if hedged:
        # What is left of it is little beside its parts, and may be nothing.
        gains = np.vstack([gains, -gains + rng.choice([0.0, 0.01]) * rng.normal(size=gains.shape)])
    at_risk = tail(gains.sum(axis=0), level).value_at_risk
    shares = value_at_risk_contributions(gains, level)
    scale = np.abs(gains).max()
    assert np.isfinite(shares).all()
    assert shares.sum() == pytest.approx(at_risk, rel=1e-9, abs=1e-9 * scale)
    # A position of nothing adds nothing, and changes no other's part; two that are equal add the same.
    twice = np.vstack([gains, np.zeros(n), gains[0], -gains[0]])
    found = value_at_risk_contributions(twice, level)
    assert found[-3] == 0.0
    assert found[-2] == pytest.approx(found[0], abs=1e-9 * scale)
    assert found[-2] == pytest.approx(-found[-1], abs=1e-9 * scale)
    # More of everything is as much more of each; in other money it is the same.
    np.testing.assert_allclose(
        value_at_risk_contributions(more * gains, level), more * shares, rtol=1e-6, atol=1e-9 * more * scale
    )
    # Alone, a position bears the whole.
    assert value_at_risk_contributions(gains[:1], level)[0] == pytest.approx(tail(gains[0], level).value_at_risk)


def test_of_normal_outcomes_each_part_is_its_covariance_with_the_whole() -> None:
    rng = np.random.default_rng(2)
    mix = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-0.5, 0.2, 0.3]])
    gains = mix @ rng.normal(size=(3, 200_000))
    covariance = mix @ mix.T
    whole = math.sqrt(covariance.sum())
    for level in LEVELS:
        expected = -norm.ppf(level) * covariance.sum(axis=1) / whole
        np.testing.assert_allclose(value_at_risk_contributions(gains, level), expected, atol=0.04 * whole)


def test_many_scenarios_tell_more_of_a_part_than_the_one_at_the_value_at_risk() -> None:
    """The figures of docs/risk.md: five like positions, of which each bears a fifth of the whole."""
    rng = np.random.default_rng(4)
    off: dict[str, list[float]] = {"one scenario": [], "around it": [], "shortfall": []}
    for _ in range(300):
        gains = rng.normal(size=(5, DRAWS)) + rng.normal(size=DRAWS)
        total = gains.sum(axis=0)
        found = tail(total, 0.01)
        off["one scenario"] += list(-gains[:, np.argmin(np.abs(total + found.value_at_risk))] / found.value_at_risk)
        off["around it"] += list(value_at_risk_contributions(gains, 0.01) / found.value_at_risk)
        off["shortfall"] += list(contributions(gains, 0.01) / found.expected_shortfall)
    spread = {name: float(np.sqrt(np.mean((np.array(shares) - 0.2) ** 2))) for name, shares in off.items()}
    page = (Path(__file__).parents[2] / "docs" / "risk.md").read_text("utf-8")
    for name, value in spread.items():
        assert f"| {value * 100:.1f} % |" in page, f"{name}: {value * 100:.1f} %"


def test_of_normal_outcomes_the_tail_is_the_normal_one() -> None:
    gains = norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    for level in LEVELS:
        found = tail(gains, level)
        assert found.value_at_risk == pytest.approx(-norm.ppf(level), rel=1e-3)
        assert found.expected_shortfall == pytest.approx(norm.pdf(norm.ppf(level)) / level, rel=1e-3)


def test_a_short_position_gains_what_a_long_one_loses() -> None:
    returns = np.array([-0.1, 0.0, 0.1])
    np.testing.assert_array_equal(gains_of(-50.0, returns), -gains_of(50.0, returns))


def test_true_tails_pass_and_understated_ones_are_found() -> None:
    rng = np.random.default_rng(3)
    scale = np.exp(0.3 * rng.normal(size=600))
    losses, possible = scale * rng.normal(size=600), rng.normal(size=4000)
    for factor in (1.0, 0.7):
        for found in (judged(losses, [factor * one * possible for one in scale], level) for level in LEVELS):
            passes = factor == 1.0
            assert (found.test.kupiec_p > 0.05) == passes
            assert (found.shortfall_p > 0.05) == passes
            assert (found.shortfall_z > -0.5) == passes


def test_the_backtest_judges_each_day_by_what_was_known_on_it() -> None:
    holdings, rows = {}, slice(-60, -1)
    for ticker, value in (("AAA", 100.0), ("BBB", -40.0)):
        history = prepare(BARS[ticker])
        days = history.dates.to_numpy().astype("datetime64[D]")
        said = dict.fromkeys(days[rows], SAID[0])
        happened = dict(zip(days[rows], history.targets[rows, 0], strict=True))
        holdings[ticker] = Holding(Residuals.of(history), said, dict.fromkeys(said, value), happened)
    days, found = backtest(holdings)
    assert [one.test.n for one in found] == [len(days)] * 2 == [59, 59]
    day = days[30]
    alone = {
        t: Holding(residuals(t, str(day)), {day: SAID[0]}, {day: one.values[day]}, {day: one.happened[day]})
        for t, one in holdings.items()
    }
    sessions = sessions_drawn([one.residuals for one in alone.values()], day)
    gains = sum(
        gains_of(one.values[day], draws(one.residuals, sessions, SAID[:1], day)[:, 0]) for one in alone.values()
    )
    loss = -sum(one.values[day] * math.expm1(one.happened[day]) for one in alone.values())
    assert [one.test.misses for one in backtest(alone)[1]] == [int(loss > tail(gains, level)[1]) for level in LEVELS]
    # Too short a past says nothing.
    assert (
        backtest({"YOUNG": Holding(residuals("YOUNG", "2012-06-01"), {day: SAID[0]}, {day: 1.0}, {day: 0.0})})[1] == []
    )


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, length=st.sampled_from([1, 3, 10]))
def test_the_worst_stretches_are_the_worst_and_none_overlaps(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    days = np.arange("2012-01-02", "2012-06-01", dtype="datetime64[D]")
    logs = {t: (days, np.cumsum(rng.normal(size=len(days)) * 0.02)) for t in ("A", "B")}
    values = {"A": 100.0, "B": -30.0}
    found = worst_stretches(values, logs, length, 4)
    at = {day: place for place, day in enumerate(days)}
    gains = sum(v * np.expm1(logs[t][1][length:] - logs[t][1][:-length]) for t, v in values.items())
    assert found[0].gain == pytest.approx(gains.min())
    assert [one.gain for one in found] == sorted(one.gain for one in found)
    spans = sorted((at[one.first], at[one.last]) for one in found)
    assert all(last - first == length for first, last in spans)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))


def written(folder: Path, text: str) -> Path:
    file = folder / "holdings.csv"
    file.write_bytes(text.encode())
    return file


def test_a_file_of_holdings_in_any_common_way(tmp_path: Path) -> None:
    lines = [
        "\ufeffName;Quantity;Ticker;Currency",
        "Apple;10;AAPL;usd",
        "",
        "again;2.5;AAPL;",
        "short;-3;MSFT;USD",
        "no;0;IBM;",
    ]
    assert read_holdings(written(tmp_path, "\r\n".join(lines))) == {"AAPL": 12.5, "MSFT": -3.0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no column ticker and no column quantity"),
        ("symbol,shares\nAAPL,1\n", "has no column ticker"),
        ("ticker,quantity\n", "holds no position"),
        ("ticker,quantity\nAAPL,5\nAAPL,-5\n", "holds no position"),
        ("ticker,quantity\nAAPL,ten\n", "Line 2 of .* quantity 'ten', which is no number"),
        ("ticker,quantity\nMSFT,1\nAAPL,nan\n", "Line 3 of .* no number"),
        ("ticker,quantity\nAAPL\n", "Line 2 of .* no number"),
        ("ticker,quantity\n=1+1,5\n", "Line 2 of"),
        ("ticker,quantity\n,5\n", "Line 2 of"),
        ("ticker,quantity\nAAPL,1\nVOD.L,5\n", r"several currencies \(USD: AAPL; pence .*VOD.L\).* file for each"),
        ("ticker,quantity,currency\nAAPL,1,EUR\n", "AAPL is said to be in EUR, but its prices are in USD"),
    ],
)  # fmt: skip
def test_a_bad_file_of_holdings_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(StockcastError, match=words) as caught:
        read_holdings(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "huge.csv").write_bytes(b"ticker,quantity\n" + b"x" * 2**20)
    for name, words in {"none.csv": "cannot be read", "binary.csv": "no text in UTF-8", "huge.csv": "megabyte"}.items():
        with pytest.raises(StockcastError, match=words):
            read_holdings(tmp_path / name)
    with pytest.raises(StockcastError, match="cannot be read"):
        read_holdings(tmp_path)
