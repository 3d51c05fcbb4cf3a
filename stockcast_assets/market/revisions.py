"""What a provider changed in bars that are stored: found by asking for a few of them again with every fetch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from stockcast_assets.libraries import np, pd

Kind = Literal["split", "dividend", "correction", "missing bar"]

PRICE_TOLERANCE = 1e-4
"""Relative difference of a price from which it is another one. Yahoo sends 32-bit floats (6e-8), rounds to cents or
hundredths of cents, and divides again after a split."""

VOLUME_TOLERANCE = 0.10
"""Relative difference of a volume from which it is another one. Late trades move the newest volumes by some per
cent for days; features see only the logarithm."""

DIVIDEND_TOLERANCE = 1e-4
"""Difference of a dividend from which it is another one, as a share of the close."""

SMALLEST_SPLIT = 0.01
"""Relative change common to all prices from which bars count as being in other shares."""

SCALE_TOLERANCE = 2e-3
"""Room in which the factors of a bar's prices, and of several bars, are the same."""

_PRICES = ["open", "high", "low", "close"]


@dataclass(frozen=True)
class Revision:
    """One thing that a source says otherwise than it is stored.

    Attributes:
        ticker: the symbol.
        date: the session concerned; of a split the first session in new shares.
        kind: `split`: all earlier prices are in other shares now; `dividend`: a dividend that is stored otherwise;
            `correction`: another value; `missing bar`: the source has the session no more.
        column: the column concerned; of a split `close`, or `split_ratio` if only its action row is known.
        before: the stored value; of a split the last close in old shares. None for a missing bar.
        after: what the source says now. None for a missing bar.
    """

    ticker: str
    date: date
    kind: Kind
    column: str
    before: float | None
    after: float | None

    def __str__(self) -> str:
        if self.kind == "missing bar":
            return f"{self.ticker} {self.date}: the source has this bar no more"
        return f"{self.ticker} {self.date}: {self.kind}, {self.column} {self.before:g} is now {self.after:g}"


def detect(stored: pd.DataFrame, fetched: pd.DataFrame) -> list[Revision]:
    """What `fetched` says about sessions that are stored, where it is something else.

    `adj_close` is never compared: a provider changes it in all the past with every dividend, and nothing is
    computed from it. Bars of another source are compared in scale only.

    Args:
        stored: one ticker's stored bars of the sessions asked for again, in the columns of `raw_prices`, by date.
        fetched: what the source sent for these and later sessions, likewise.

    Returns:
        Revisions by date and column. A split is one revision, whatever the number of bars.
    """
    if stored.empty or fetched.empty:
        return []
    both = stored.merge(fetched, on="date", suffixes=("", "_new"))
    if both.empty:
        return _announced_split(stored, fetched)
    rescaled = _rescaled_prefix(both)
    found = []
    if rescaled:
        last = both.iloc[rescaled - 1]
        found.append(_revision(last, "split", "close", day=_first_in_new_shares(last["date"], fetched)))
    same_source = both["source"] == both["source_new"]
    for _, row in both[(np.arange(len(both)) >= rescaled) & same_source].iterrows():
        found += _corrections(row)
    gone = stored[~stored["date"].isin(fetched["date"]) & (stored["source"] == fetched["source"].iloc[-1])]
    found += [
        Revision(row["ticker"], row["date"].date(), "missing bar", "date", None, None) for _, row in gone.iterrows()
    ]
    return sorted(found, key=lambda revision: revision.date)


def _announced_split(stored: pd.DataFrame, fetched: pd.DataFrame) -> list[Revision]:
    """Where no session can be compared, a split after the last stored one says that all of them are in old shares."""
    later = fetched[(fetched["date"] > stored["date"].iloc[-1]) & (fetched["split_ratio"] != 1)]
    return [
        Revision(row["ticker"], row["date"].date(), "split", "split_ratio", 1.0, float(row["split_ratio"]))
        for _, row in later.head(1).iterrows()
    ]


def price_factors(both: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Of sessions stored and fetched (`open`, `open_new`, …): log(stored / fetched), and whether all four prices agree.

    Returns:
        [n] the median over a bar's prices, and [n] whether each of them has that factor.
    """
    new = both[[f"{name}_new" for name in _PRICES]].to_numpy(np.float64)
    factors = np.log(both[_PRICES].to_numpy(np.float64) / new)
    middle = np.median(factors, axis=1)
    return middle, (np.abs(factors - middle[:, None]) < SCALE_TOLERANCE).all(axis=1)


def _rescaled_prefix(both: pd.DataFrame) -> int:
    """How many bars, from the first, have all their prices multiplied by one and the same factor."""
    middle, alike = price_factors(both)
    rescaled = alike & (np.abs(middle) > SMALLEST_SPLIT) & (np.abs(middle - middle[0]) < SCALE_TOLERANCE)
    return len(both) if rescaled.all() else int(np.argmin(rescaled))


def _first_in_new_shares(last_in_old: pd.Timestamp, fetched: pd.DataFrame) -> date:
    later = fetched[fetched["date"] > last_in_old]
    announced = later[later["split_ratio"] != 1]
    for days in (announced["date"], later["date"]):
        if len(days):
            day: date = days.iloc[0].date()
            return day
    return last_in_old.date()


def _corrections(row: pd.Series) -> list[Revision]:
    found = []
    for name in _PRICES:
        if abs(row[f"{name}_new"] / row[name] - 1) > PRICE_TOLERANCE:
            found.append(_revision(row, "correction", name))
    if abs(row["volume_new"] - row["volume"]) > VOLUME_TOLERANCE * max(row["volume"], row["volume_new"]):
        found.append(_revision(row, "correction", "volume"))
    if abs(row["dividend_new"] - row["dividend"]) > DIVIDEND_TOLERANCE * row["close_new"]:
        found.append(_revision(row, "dividend", "dividend"))
    if abs(row["split_ratio_new"] / row["split_ratio"] - 1) > PRICE_TOLERANCE:
        found.append(_revision(row, "correction", "split_ratio"))
    return found


def _revision(row: pd.Series, kind: Kind, column: str, day: date | None = None) -> Revision:
    return Revision(
        row["ticker"], day or row["date"].date(), kind, column, float(row[column]), float(row[f"{column}_new"])
    )
