"""The one place that decides what is published: the network, its average with its start, a champion, or a baseline.

Where contenders differ by a thousandth, the lowest loss on the proof's days is the luckiest's. So nothing is promoted
for being lowest. It has to be *shown* to be better: the 95 % interval of the ratio of losses lies below 1. The networks
of a universe are one claim and not one of each ticker. They are judged once a month, over all tickers together, and
there is no multiplicity left to correct for. What is shown neither better nor worse than its start is averaged with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stockcast_assets.forecasting.evaluation.scores import Evaluation, loss_ratio, ratio_interval
from stockcast_assets.libraries import pd
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import AVERAGE, LABELS, LSTM, NAIVE_PREFIX, OF_NETWORK, RANDOM_WALK

NOTHING = "none"
"""What a month admits beside LSTM and AVERAGE: no ticker publishes its networks."""

MIN_CASES = 250
"""Walk-forward days below which no model is promoted, whatever its numbers."""


@dataclass(frozen=True)
class Decision:
    """What is published and why.

    Attributes:
        promoted: whether the model is the new champion.
        method: what the model's own file publishes: "lstm" if promoted, else "average" (of it and its start), or
            "naive_" and a baseline's name.
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


@dataclass(frozen=True)
class Ratio:
    """A ratio of losses, ours over others', with its 95 % interval; below 1 ours are lower."""

    ratio: float
    low: float
    high: float

    @classmethod
    def of(cls, evaluation: Evaluation, name: str, other: str) -> Ratio:
        """Of the pinball losses of two contenders."""
        return cls(evaluation.pinball_ratio(name, other), *evaluation.pinball_ratio_interval(name, other))

    @classmethod
    def of_losses(cls, ours: Floats, theirs: Floats) -> Ratio:
        """Of losses on the same sessions."""
        return cls(loss_ratio(ours.sum(), theirs.sum()), *ratio_interval(ours, theirs))

    @property
    def shown_better(self) -> bool:
        return self.high < 1

    @property
    def shown_worse(self) -> bool:
        return self.low > 1

    def __str__(self) -> str:
        return f"{self.ratio:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class Pooled:
    """A universe's networks over all tickers together.

    Attributes:
        over_start: their pinball loss over that of what they start from.
        over_best: the same over that of each ticker's best baseline. It is chosen in hindsight, so that nobody is found
            better for having been set beside the wrong one.
    """

    over_start: Ratio
    over_best: Ratio

    @property
    def admitted(self) -> str:
        """What tickers may publish of the networks."""
        if self.over_start.shown_worse:
            return NOTHING
        return LSTM if self.over_best.shown_better else AVERAGE


def pool(losses: Mapping[str, pd.DataFrame], start: str) -> Pooled:
    """Set the network beside its `start` and each ticker's best baseline.

    Args:
        losses: by ticker [days, contenders], of the network and the baselines.
        start: the baseline that the network starts from.
    """
    parts = []
    for of_ticker in losses.values():
        baselines = of_ticker.drop(columns=list(OF_NETWORK), errors="ignore")
        chosen = {"network": LSTM, "start": start, "best": str(baselines.sum().idxmin())}
        parts.append(pd.DataFrame({name: of_ticker[contender] for name, contender in chosen.items()}))
    network, *others = pd.concat(parts).groupby(level=0).sum().to_numpy().T
    return Pooled(*(Ratio.of_losses(network, other) for other in others))


def decide(
    evaluation: Evaluation,
    champion: Evaluation | None = None,
    *,
    start: str,
    learnt: bool = True,
    admitted: str | None = None,
) -> Decision:
    """Decide what a ticker publishes, on its walk-forward cases.

    The LSTM is promoted if it is shown to be better than the best baseline: over all tickers where it is a universe's,
    else here. If that is not shown, the average of it and its start is published, and nobody is promoted. Either is
    refused if

    - there are fewer than MIN_CASES cases,
    - its pinball loss is shown to be above the best baseline's,
    - the LSTM's RMSE is shown to be above the random walk's,
    - the LSTM's pinball loss is shown to be above the champion's, on the days that both forecast,
    - its final fit `learnt` nothing: its validation loss never got below the start's,
    - its universe's month admits nothing.

    Then the champion serves on if it was found better than the LSTM and its own pinball loss is below the best
    baseline's on the same days; failing that, the start is published under its name, or the best baseline if that is
    shown to be better than the start.

    Args:
        evaluation: of the LSTM, AVERAGE and the baselines, `start` among them.
        champion: of the model that was promoted last, if it may go on serving.
        start: the baseline that the LSTM starts from.
        learnt: whether the final fit got better than the start on the validation sessions.
        admitted: what tickers may publish of their universe's networks: LSTM, AVERAGE or NOTHING; None of a network of
            the ticker's own.
    """
    baselines = [name for name in evaluation.contenders if name not in OF_NETWORK]
    best = min(baselines, key=lambda name: evaluation.pinball[name].sum())
    cases = int(evaluation.cases.sum())
    alone = Ratio.of(evaluation, LSTM, best)
    rmse = Ratio(evaluation.rmse_ratio(LSTM, RANDOM_WALK), *evaluation.rmse_ratio_interval(LSTM, RANDOM_WALK))
    promoted = alone.shown_better if admitted is None else admitted == LSTM
    judged = alone if promoted else Ratio.of(evaluation, AVERAGE, best)

    objections = []
    if cases < MIN_CASES:
        objections.append(f"there are only {cases} walk-forward cases of the {MIN_CASES} it takes")
    if judged.shown_worse:
        whose = "its pinball loss" if promoted else f"its pinball loss, averaged with that of {LABELS[start]},"
        objections.append(f"{whose} is {judged} times that of {LABELS[best]}")
    if rmse.shown_worse:
        objections.append(f"its RMSE is {rmse} times the random walk's")
    beaten = None if champion is None else _worse_than(evaluation, champion)
    if beaten is not None:
        objections.append(beaten)
    if not learnt:
        objections.append("its final fit improved nothing on the validation sessions")
    if admitted == NOTHING:
        objections.append("over all tickers of its universe it is no better than the interval that it starts from")
    if not objections:
        found = (
            f"on {cases} walk-forward cases its pinball loss is {judged} times that of the best baseline, "
            f"{LABELS[best]}"
        )
        if promoted:
            everywhere = "" if admitted is None else " It is shown to be better over all tickers of its universe."
            reason = f"The LSTM is published: {found}, and its RMSE {rmse} times the random walk's.{everywhere}"
            return Decision(True, LSTM, reason)
        unshown = (
            f"the LSTM alone, at {alone} times, is not shown to be better than that"
            if admitted is None
            else "over all tickers of its universe the LSTM alone is not shown to be better than each one's best "
            "baseline"
        )
        mean = f"The average of the LSTM and its start, {LABELS[start]},"
        return Decision(False, AVERAGE, f"{mean} is published: {found}, and {unshown}.")
    refusal = f"The LSTM is not published because {' and '.join(objections)}."
    over_start = Ratio.of(evaluation, best, start)
    chosen = best if over_start.shown_better else start
    if champion is not None and beaten is not None:
        theirs, naive = _on_common_days(champion, LSTM, evaluation, best)
        if theirs.sum() < naive.sum():
            standing = Ratio.of_losses(theirs, naive)
            return Decision(
                False,
                NAIVE_PREFIX + chosen,
                f"{refusal} The champion before it serves on: its pinball loss on those days is {standing} times that "
                f"of the best baseline, {LABELS[best]}.",
                champion_serves=True,
            )
    why = (
        "no baseline is shown to be better than it"
        if chosen == start
        else f"its pinball loss is {over_start} times that of {LABELS[start]}"
    )
    return Decision(False, NAIVE_PREFIX + chosen, f"{refusal} What is published is {LABELS[chosen]}: {why}.")


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
    found = Ratio.of_losses(ours, theirs)
    if not found.shown_worse:
        return None
    return f"its pinball loss is {found} times the champion's on the same {len(ours)} days"
