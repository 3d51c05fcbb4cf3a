"""A second opinion on every stored bar: does another source say the same close?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stockcast_assets.libraries import np, pd

AGREEMENT = 1e-3
"""Relative difference of two closes up to which both say the same."""

_MOST_DECIMALS = 6

Basis = Literal["close", "close and dividends"]


@dataclass(frozen=True)
class Opinion:
    """What a second source says of one ticker's stored bars.

    Attributes:
        ticker: the symbol.
        bars: date, close, second_close and `agrees` (nullable boolean) of every stored bar; null where the second has
            no bar.
        absent: sessions between the first and the last stored bar that only the second source has.
        basis: what the second source's closes are adjusted for besides splits, by what fits best.
    """

    ticker: str
    bars: pd.DataFrame
    absent: pd.DatetimeIndex
    basis: Basis

    @property
    def disputed(self) -> pd.DataFrame:
        """The bars of which both do not say the same."""
        return self.bars[self.bars["agrees"].eq(False).fillna(False)]

    @property
    def heard(self) -> int:
        """How many stored bars the second source has, too."""
        return int(self.bars["agrees"].notna().sum())

    def sentences(self, most: int = 5) -> list[str]:
        """The disputed bars and the absent ones, a sentence each; the first of many."""
        rows = self.disputed
        shown = [
            f"{self.ticker} {row['date']:%Y-%m-%d}: close {row['close']:g} here, {row['second_close']:g} there"
            for _, row in rows.head(most).iterrows()
        ]
        if len(rows) > most:
            shown.append(f"{self.ticker}: {len(rows) - most} more up to {rows['date'].iloc[-1]:%Y-%m-%d}")
        if len(self.absent):
            shown.append(f"{self.ticker}: {len(self.absent)} sessions only there (first: {self.absent[0]:%Y-%m-%d})")
        return shown


def second_opinion(ticker: str, stored: pd.DataFrame, second: pd.DataFrame) -> Opinion:
    """Compare the closes of one ticker's stored bars with those of another source, bar by bar.

    The other source's closes may be adjusted for dividends, as Stooq's are: then they are compared with the stored
    closes adjusted by the stored dividends, counted back from the newest session that both have. Of the two
    readings the one with fewer disputed bars counts. A bar is not disputed for what the other source's decimals round.

    Args:
        ticker: the symbol.
        stored: date, close and dividend of all its stored bars, by date.
        second: date and close, by date; may be empty.
    """
    both = stored[["date", "close", "dividend"]].merge(
        second[["date", "close"]].rename(columns={"close": "second_close"}), on="date", how="left"
    )
    there = both["second_close"].notna().to_numpy()
    said = both["second_close"].to_numpy(np.float64)
    room = _rounding(said[there])
    readings: dict[Basis, np.ndarray] = {
        "close": both["close"].to_numpy(np.float64),
        "close and dividends": _counted_back(both, there),
    }
    agreeing = {
        basis: np.abs(said - expected) <= AGREEMENT * np.abs(expected) + room for basis, expected in readings.items()
    }
    basis = max(agreeing, key=lambda name: int((agreeing[name] & there).sum()))
    agrees = pd.Series(agreeing[basis], dtype="boolean").mask(~there)
    within = second["date"]
    if len(stored):
        within = within[within.between(stored["date"].iloc[0], stored["date"].iloc[-1])]
    absent = pd.DatetimeIndex(within).difference(pd.DatetimeIndex(stored["date"]))
    bars = both[["date", "close", "second_close"]].assign(agrees=agrees.to_numpy())
    return Opinion(ticker, bars.astype({"agrees": "boolean"}), absent, basis)


def _counted_back(both: pd.DataFrame, there: np.ndarray) -> np.ndarray:
    """The closes less all dividends between them and the newest session that both have."""
    close, dividend = both["close"].to_numpy(np.float64), both["dividend"].to_numpy(np.float64)
    if not there.any():
        return close
    kept = np.ones(len(close))
    kept[1:] = 1 - dividend[1:] / close[:-1]
    last = int(np.flatnonzero(there)[-1])
    # The factor of a bar is the product over all later ones.
    factor = np.append(np.cumprod(kept[::-1])[::-1][1:], 1.0)
    values: np.ndarray = close * factor / factor[last]
    return values


def _rounding(closes: np.ndarray) -> float:
    """Half a unit of the last decimal that the closes are written with."""
    for decimals in range(_MOST_DECIMALS):
        if np.allclose(closes, np.round(closes, decimals), rtol=0, atol=1e-9):
            return 0.5 * 10.0**-decimals if decimals else 0.0
    return 0.5 * 10.0**-_MOST_DECIMALS
