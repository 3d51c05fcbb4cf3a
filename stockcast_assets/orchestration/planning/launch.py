"""A launch: which keys of which assets to materialise together, and why. The one value between a need and its run.

Schedules, sensors and commands say what they need as launches of one ticker; the planner joins those that may share a
run; `requests` makes run requests of them. A sensor that waits for its needs keeps them in its cursor as JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from stockcast_assets.keys import key_day, validate_ticker
from stockcast_assets.orchestration.graph import DAILY_ASSETS, DERIVED_ASSETS, KEY_OF, ORDER
from stockcast_assets.tables import EARNINGS_DATES, PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL, UNIVERSE_MODEL


@dataclass(frozen=True)
class Reason:
    """Why keys are materialised.

    Attributes:
        kind: one of the constants below.
        cause: what asked for them (an observation, a file's version, a decision); empty if the state of the world did.
        config: fields of the first asset's configuration, as pairs.
    """

    kind: str
    cause: str = ""
    config: tuple[tuple[str, Any], ...] = ()


HISTORY, BARS, UNIVERSE, MODEL, NEWEST, DAILY, TRAINING = map(
    Reason, ("history", "bars", "universe", "model", "newest", "daily", "training")
)
COMMAND = Reason("command line")
REPAIR, RESTORE, RETRAINING, UPLOAD, EARNINGS = "repair", "restore", "retraining", "upload", "earnings"

ASSETS_OF: Mapping[Reason, tuple[str, ...]] = {
    HISTORY: (PRICE_HISTORY.name, EARNINGS_DATES.name),
    BARS: (RAW_PRICES.name,),
    UNIVERSE: (UNIVERSE_MODEL.name,),
    MODEL: (TRAINED_MODEL.name,),
    NEWEST: DERIVED_ASSETS,
    DAILY: DAILY_ASSETS,
    TRAINING: (TRAINED_MODEL.name,),
}
"""What each reason that the state of the world gives asks for, in the order in which runs are launched."""

KINDS = (RESTORE, *(reason.kind for reason in ASSETS_OF), REPAIR, UPLOAD, RETRAINING, EARNINGS)


@dataclass(frozen=True)
class Launch:
    """Assets of one job over neighbouring tickers and a range of their days or months.

    Attributes:
        assets: in the order of the graph.
        tickers: in the order of the partitions; none for an asset of all of them.
        first: first day or month; None for assets partitioned by ticker alone.
        last: the last, included.
        reason: why.
        after: the last run that wanted the same, or what else tells this try from the one before.
    """

    assets: tuple[str, ...]
    tickers: tuple[str, ...]
    first: date | None = None
    last: date | None = None
    reason: Reason = COMMAND
    after: str = "the start"

    def __str__(self) -> str:
        names = ", ".join(self.assets)
        whom = ", ".join(self.tickers) if len(self.tickers) <= 4 else f"{len(self.tickers)} tickers"
        if self.first is None:
            return f"{names}: {whom}"
        return f"{names}: {whom or 'all tickers'}, {self.first}" + (
            f" to {self.last}" if self.last != self.first else ""
        )

    @property
    def what(self) -> str:
        """Ticker, assets and days of a need of one ticker."""
        days = "" if self.first is None else f", {self.first} to {self.last}"
        return f"{self.tickers[0]} {'+'.join(self.assets)}{days}"

    @property
    def run_key(self) -> str:
        """The same for the same try: Dagster launches it once."""
        what = self.reason.kind
        if self.reason.cause:
            what += f" {self.reason.cause} {'+'.join(self.assets)}"
        days = "" if self.first is None else f" {self.first} to {self.last}"
        whom = f" {self.tickers[0]} to {self.tickers[-1]}" if self.tickers else ""
        return f"{what}{days}{whom}, after {self.after}"

    @property
    def words(self) -> str:
        """Of a need of one ticker, for a tick."""
        kind = self.reason.kind if not self.reason.cause else f"{self.reason.kind} of {', '.join(self.assets)}"
        if self.first is None:
            return f"{self.tickers[0]}: {kind}"
        first = f"{self.first:%Y-%m}" if KEY_OF[self.assets[0]] == "ticker-month" else self.first
        return f"{self.tickers[0]}: {kind} {'from' if self.reason.cause else 'of'} {first}"

    def dump(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "assets": list(self.assets),
            "tickers": list(self.tickers),
            "first": self.first and self.first.isoformat(),
            "last": self.last and self.last.isoformat(),
            "kind": self.reason.kind,
            "cause": self.reason.cause,
            "config": dict(self.reason.config),
        }

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> "Launch":
        """From what `dump` made.

        Raises:
            Exception: if it is not of that form.
        """
        first, last = (stored[end] and key_day(stored[end]) for end in ("first", "last"))
        assets, tickers = tuple(stored["assets"]), tuple(map(validate_ticker, stored["tickers"]))
        if not assets or not tickers or not set(assets) <= set(ORDER) or (first is None) != (last is None):
            raise ValueError("no launch")
        reason = Reason(stored["kind"], stored["cause"], tuple(sorted(stored["config"].items())))
        return cls(assets, tickers, first, last, reason)
