"""The one place that decides what is published: the LSTM if it earned it, else the best naive forecast."""

from dataclasses import dataclass

import pandas as pd

from stockcast_assets.forecasting.evaluation import Evaluation, ratio_interval
from stockcast_assets.forecasting.forecaster import LSTM, NAIVE_PREFIX

MIN_CASES = 250
"""Walk-forward days below which no model is promoted, whatever its numbers."""

_LABELS = {
    "random_walk": "constant volatility",
    "drift": "drift",
    "vol60": "60-session volatility",
    "vol250": "250-session volatility",
    "fhs": "filtered historical simulation",
    "har": "linear HAR",
}


@dataclass(frozen=True)
class Decision:
    """What is published and why: `method` is "lstm" if `promoted`, else "naive_" and a baseline's name."""

    promoted: bool
    method: str
    reason: str


def decide(evaluation: Evaluation, champion: Evaluation | None = None, *, learnt: bool = True) -> Decision:
    """Promote the LSTM only if, on the walk-forward cases,

    - there are at least MIN_CASES of them,
    - its pinball loss is below that of every baseline,
    - its RMSE ratio to the random walk is at most 1 within its 95 % interval,
    - its pinball loss is not above the champion's on the days both forecast, beyond its 95 % interval,
    - the final fit `learnt` something: its validation loss got below the HAR interval's that it starts from.

    Otherwise the baseline with the lowest pinball loss is published under its own name.
    """
    baselines = [name for name in evaluation.contenders if name != LSTM]
    best = min(baselines, key=lambda name: evaluation.pinball[name].sum())
    ratio = evaluation.pinball_ratio(LSTM, best)
    rmse_low, rmse_high = evaluation.rmse_ratio_interval(LSTM, "random_walk")
    pinball = _figure(ratio, *evaluation.pinball_ratio_interval(LSTM, best))
    rmse = _figure(evaluation.rmse_ratio(LSTM, "random_walk"), rmse_low, rmse_high)
    cases = int(evaluation.cases.sum())

    objections = []
    if cases < MIN_CASES:
        objections.append(f"there are only {cases} walk-forward cases of the {MIN_CASES} it takes")
    if ratio >= 1:
        objections.append(f"its pinball loss is {pinball} times that of {_LABELS[best]}")
    if rmse_low > 1:
        objections.append(f"its RMSE is {rmse} times the random walk's")
    if champion is not None and (beaten := _worse_than(evaluation, champion)):
        objections.append(beaten)

    if not learnt:
        objections.append("its final fit improved nothing on the validation sessions")
    if objections:
        return Decision(False, NAIVE_PREFIX + best, f"The LSTM is not published because {' and '.join(objections)}.")
    return Decision(
        True,
        LSTM,
        f"The LSTM is published: on {cases} walk-forward cases its pinball loss is {pinball} times that of "
        f"the best baseline, {_LABELS[best]}, and its RMSE {rmse} times the random walk's.",
    )


def _worse_than(evaluation: Evaluation, champion: Evaluation) -> str | None:
    if LSTM not in champion.contenders:
        return None
    ours = pd.Series(evaluation.pinball[LSTM] / evaluation.cases, evaluation.dates)
    theirs = pd.Series(champion.pinball[LSTM] / champion.cases, champion.dates)
    both = pd.concat([ours, theirs], axis=1, join="inner").to_numpy()
    if not len(both):
        return None
    ratio = both[:, 0].sum() / both[:, 1].sum()
    low, high = ratio_interval(both[:, 0], both[:, 1])
    if low <= 1:
        return None
    return f"its pinball loss is {_figure(ratio, low, high)} times the champion's on the same {len(both)} days"


def _figure(ratio: float, low: float, high: float) -> str:
    return f"{ratio:.4f} [{low:.4f}, {high:.4f}]"
