"""What an evaluation judges beside the network and the baselines, if it is asked to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from stockcast_assets import user_code
from stockcast_assets.cli.terminal import err
from stockcast_assets.libraries import pd

if TYPE_CHECKING:
    from stockcast_assets.forecasting.evaluation.others import Other
    from stockcast_assets.forecasting.evaluation.walkforward import WalkForward

ENTRY_POINTS = "stockcast.contenders"
"""The group of entry points under which a package offers contenders by name."""


@dataclass(frozen=True)
class Beside:
    """Whether the statistical contenders are judged as well, and the names of the user's own."""

    statistical: bool = False
    contenders: tuple[str, ...] = ()

    def load(self) -> list[Other]:
        """The user's own.

        Raises:
            StockcastError: if one is not there, or cannot predict.
        """
        if not self.contenders:
            return []
        from stockcast_assets.forecasting.evaluation.others import other_of

        return [other_of(user_code.load(name, ENTRY_POINTS), name) for name in self.contenders]


def progress_bar() -> Progress:
    """Fits done of fits in all, on stderr, gone when they are done."""
    return Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=err, transient=True,
    )  # fmt: skip


def judged_beside(walk: WalkForward, bars: Mapping[str, pd.DataFrame], others: Sequence[Other]) -> WalkForward:
    """The evaluation with the user's own contenders.

    Raises:
        StockcastError: if one fails, or returns no quantiles.
    """
    if not others:
        return walk
    from stockcast_assets.forecasting.evaluation.others import with_other

    for other in others:
        with progress_bar() as shown:
            task = shown.add_task(other.name, total=None)
            walk = with_other(
                walk,
                bars,
                other,
                lambda what, done, total: shown.update(task, description=what, completed=done, total=total),  # noqa: B023
            )
    return walk
