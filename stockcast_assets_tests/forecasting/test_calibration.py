"""Adaptive intervals learn in the right direction, late enough, and reach their coverage."""

import numpy as np

from stockcast_assets.forecasting.config import HORIZON, MEDIAN, QUANTILES
from stockcast_assets.forecasting.serving.calibration import Calibration, calibrate, calibrate_each, replay

NORMAL = np.array([-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645])


def raw(days: int, width: float = 1.0) -> np.ndarray:
    return np.broadcast_to(width * NORMAL, (days, HORIZON, len(QUANTILES))).copy()


def test_no_surprise_no_step_leaves_quantiles_alone() -> None:
    assert np.array_equal(Calibration.start(0.02).apply(raw(1)), raw(1))
    out, _ = calibrate(raw(50), np.full((50, HORIZON), 9.0), Calibration.start(0.0))
    assert np.array_equal(out, raw(50))


def test_misses_widen_hits_narrow_and_the_median_stays() -> None:
    start = Calibration.start(0.02)
    missed = start.learn(raw(1)[0], np.full(HORIZON, 5.0)).apply(raw(1))[0]
    hit = start.learn(raw(1)[0], np.zeros(HORIZON)).apply(raw(1))[0]
    assert (missed[:, -1] > NORMAL[-1]).all()
    assert (hit[:, -1] < NORMAL[-1]).all()
    assert (missed[:, MEDIAN] == 0).all()


def test_a_day_knows_only_outcomes_ten_sessions_old() -> None:
    outcomes = np.zeros((40, HORIZON))
    changed = outcomes.copy()
    changed[20:] = 99.0
    ours, _ = calibrate(raw(40), outcomes, Calibration.start(0.02))
    theirs, _ = calibrate(raw(40), changed, Calibration.start(0.02))
    first_that_may_differ = 20 + HORIZON
    assert np.array_equal(ours[:first_that_may_differ], theirs[:first_that_may_differ])
    assert not np.array_equal(ours[first_that_may_differ], theirs[first_that_may_differ])


def test_several_at_once_have_the_bits_of_each_alone() -> None:
    outcomes = np.random.default_rng(2).normal(size=(60, HORIZON))
    forecasts = {"narrow": raw(60, 0.6), "wide": raw(60, 1.7)}
    found, states = calibrate_each(forecasts, outcomes, 0.02)
    for name, quantiles in forecasts.items():
        alone, state = calibrate(quantiles, outcomes, Calibration.start(0.02))
        assert np.array_equal(found[name], alone)
        assert np.array_equal(states[name].log_factors, state.log_factors)
    assert not np.array_equal(states["narrow"].log_factors, states["wide"].log_factors)


def test_intervals_half_as_wide_as_they_should_be_reach_their_coverage() -> None:
    outcomes = np.random.default_rng(1).normal(size=(3000, HORIZON))
    too_narrow = raw(3000, width=0.5)
    out, _ = calibrate(too_narrow, outcomes, Calibration.start(0.02))

    def coverage(q: np.ndarray) -> float:
        return float(((outcomes > q[:, :, 1]) & (outcomes < q[:, :, 5]))[500:].mean())

    assert coverage(too_narrow) < 0.5
    assert 0.78 < coverage(out) < 0.82


def test_quantiles_never_cross() -> None:
    factors = np.array([-3.0, 0.0, 3.0])
    assert (np.diff(Calibration(factors, 0.02).apply(raw(3)), axis=-1) >= 0).all()


def test_many_models_a_day_at_a_time_are_each_alone_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    lengths = (0, 3, 17, 1)
    starts = [Calibration(rng.normal(size=MEDIAN) * 0.1, 0.0025 * (1 + model)) for model in range(len(lengths))]
    quantiles = [raw(days) * rng.uniform(0.5, 2) for days in lengths]
    outcomes = [rng.normal(size=(days, HORIZON)) * 2 for days in lengths]
    together = replay(starts, quantiles, outcomes)
    for start, of_model, happened, states in zip(starts, quantiles, outcomes, together, strict=True):
        state = start
        assert len(states) == len(happened) + 1
        for day, outcome in enumerate(happened):
            assert states[day].log_factors.tobytes() == state.log_factors.tobytes()
            state = state.learn(of_model[day], outcome)
        assert states[-1].log_factors.tobytes() == state.log_factors.tobytes()
