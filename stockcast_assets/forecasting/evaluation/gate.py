"""The one place that decides what is published: the new LSTM, the champion before it, or the best naive forecast."""

from __future__ import annotations

from dataclasses import dataclass

from stockcast_assets.forecasting.evaluation.scores import Evaluation, ratio_interval
from stockcast_assets.libraries import pd
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import LABELS, LSTM, NAIVE_PREFIX, RANDOM_WALK

MIN_CASES = 250
"""Walk-forward days below which no model is promoted, whatever its numbers."""


@dataclass(frozen=True)
class Decision:
    """What is published and why.

    Attributes:
        promoted: whether the model is the new champion.
        method: what the model's own file publishes: "lstm" if promoted, else "naive_" and a baseline's name.
        reason: why, in words.
        champion_serves: whether the champion it was compared with goes on being published instead.
    """

    promoted: bool
    method: str
    reason: str
    champion_serves: bool = False

    @property
    def published(self) -> str:
        """The method that the month publishes: a champion's is always "lstm"."""
        return LSTM if self.champion_serves else self.method


def decide(
    evaluation: Evaluation, champion: Evaluation | None = None, *, learnt: bool = True, pooled: bool = True
) -> Decision:
    """Promote the LSTM only if, on the walk-forward cases,

    - there are at least MIN_CASES of them,
    - its pinball loss is below that of every baseline,
    - its RMSE ratio to the random walk is at most 1 within its 95 % interval,
    - its pinball loss is not above the champion's on the days both forecast, beyond its 95 % interval,
    - the final fit `learnt` something: its validation loss got below the interval's that it starts from,
    - `pooled` over all tickers of its universe, if it is of one, it is better than what it starts from.

    Otherwise the champion serves on if it was found better than the LSTM and its own pinball loss is below the best
    baseline's on the same days; failing that, the baseline with the lowest pinball loss is published under its name.
    """
    baselines = [name for name in evaluation.contenders if name != LSTM]
    best = min(baselines, key=lambda name: evaluation.pinball[name].sum())
    ratio = evaluation.pinball_ratio(LSTM, best)
    rmse_low, rmse_high = evaluation.rmse_ratio_interval(LSTM, RANDOM_WALK)
    pinball = _figure(ratio, *evaluation.pinball_ratio_interval(LSTM, best))
    rmse = _figure(evaluation.rmse_ratio(LSTM, RANDOM_WALK), rmse_low, rmse_high)
    cases = int(evaluation.cases.sum())

    objections = []
    if cases < MIN_CASES:
        objections.append(f"there are only {cases} walk-forward cases of the {MIN_CASES} it takes")
    if ratio >= 1:
        objections.append(f"its pinball loss is {pinball} times that of {LABELS[best]}")
    if rmse_low > 1:
        objections.append(f"its RMSE is {rmse} times the random walk's")
    beaten = None if champion is None else _worse_than(evaluation, champion)
    if beaten is not None:
        objections.append(beaten)
    if not learnt:
        objections.append("its final fit improved nothing on the validation sessions")
    if not pooled:
        objections.append("over all tickers of its universe it is no better than the interval that it starts from")
    if not objections:
        return Decision(
            True,
            LSTM,
            f"The LSTM is published: on {cases} walk-forward cases its pinball loss is {pinball} times that of "
            f"the best baseline, {LABELS[best]}, and its RMSE {rmse} times the random walk's.",
        )
    refusal = f"The LSTM is not published because {' and '.join(objections)}."
    if champion is not None and beaten is not None:
        theirs, naive = _on_common_days(champion, LSTM, evaluation, best)
        if theirs.sum() < naive.sum():
            standing = _figure(theirs.sum() / naive.sum(), *ratio_interval(theirs, naive))
            return Decision(
                False,
                NAIVE_PREFIX + best,
                f"{refusal} The champion before it serves on: its pinball loss on those days is {standing} times that "
                f"of the best baseline, {LABELS[best]}.",
                champion_serves=True,
            )
    return Decision(False, NAIVE_PREFIX + best, refusal)


def _on_common_days(first: Evaluation, name: str, second: Evaluation, other: str) -> tuple[Floats, Floats]:
    """Pinball loss per case of two contenders on the days that both evaluations judged."""
    losses = [
        pd.Series(evaluation.pinball[contender] / evaluation.cases, evaluation.dates)
        for evaluation, contender in ((first, name), (second, other))
    ]
    both = pd.concat(losses, axis=1, join="inner").to_numpy()
    return both[:, 0], both[:, 1]


def _worse_than(evaluation: Evaluation, champion: Evaluation) -> str | None:
    if LSTM not in champion.contenders:
        return None
    ours, theirs = _on_common_days(evaluation, LSTM, champion, LSTM)
    if not len(ours):
        return None
    low, high = ratio_interval(ours, theirs)
    if low <= 1:
        return None
    ratio = ours.sum() / theirs.sum()
    return f"its pinball loss is {_figure(ratio, low, high)} times the champion's on the same {len(ours)} days"


def _figure(ratio: float, low: float, high: float) -> str:
    return f"{ratio:.4f} [{low:.4f}, {high:.4f}]"
