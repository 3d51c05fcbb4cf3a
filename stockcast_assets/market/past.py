"""A ticker's past is one key of many rows: what a fetch or a file does not mention stays as it is stored.

A source that sends a shorter past than before, or a file of three days, says nothing about the other rows, so they
are no reason to delete them. Who wants them gone says so (`IngestConfig.replace`).
"""

from __future__ import annotations

from dataclasses import dataclass

from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.revisions import SCALE_TOLERANCE, SMALLEST_SPLIT, price_factors

ENOUGH = 5
"""Sessions that both have, from which a common factor of their prices is other shares and no correction."""

_PRICES = ["open", "high", "low", "close", "adj_close"]


@dataclass(frozen=True)
class Merged:
    """A ticker's past after a fetch.

    Attributes:
        bars: the fetched bars and the stored ones of days that were not fetched, by date.
        kept: how many are such stored ones.
        factor: what their prices were divided by, because the source is in other shares now; 1 if it is not.
    """

    bars: pd.DataFrame
    kept: int
    factor: float = 1.0


def merge_past(stored: pd.DataFrame, fetched: pd.DataFrame, now: pd.Timestamp) -> Merged:
    """Lay the fetched bars of one ticker over the stored ones, day by day.

    Where the sessions that both have tell that the fetched bars are in other shares, the stored ones that stay are
    brought into these: a bar never stands beside bars in other shares.

    Args:
        stored: the ticker's stored bars, in the columns of `price_history`, by date.
        fetched: what the source has, likewise; may be empty.
        now: `ingested_at` of stored bars whose values change.

    Raises:
        StockcastError: if the fetched bars are in other shares and it cannot be told in which ones those that stay
            would be.
    """
    stays = stored[~stored["date"].isin(fetched["date"])]
    if stays.empty:
        return Merged(fetched, 0)
    factor = _factor(stored, fetched, stays)
    if factor != 1.0:
        volume = np.round(stays["volume"].to_numpy(np.float64) * factor).astype("int64")
        prices = {name: stays[name] / factor for name in [*_PRICES, "dividend"]}
        stamp = pd.Series(now, stays.index, dtype=stored["ingested_at"].dtype)
        stays = stays.assign(**prices, volume=volume, ingested_at=stamp)
    both = pd.concat([frame for frame in (fetched, stays) if len(frame)], ignore_index=True)
    return Merged(both.sort_values("date", ignore_index=True), len(stays), factor)


def _factor(stored: pd.DataFrame, fetched: pd.DataFrame, stays: pd.DataFrame) -> float:
    """Stored price / fetched price of the sessions that both have, 1 if they are in the same shares."""
    both = stored.merge(fetched, on="date", suffixes=("", "_new"))
    if len(both) < ENOUGH:
        return 1.0
    middle, alike = price_factors(both)
    common = float(np.median(middle))
    same = alike & (np.abs(middle - common) < SCALE_TOLERANCE)
    rescaled = alike & (np.abs(middle) > SMALLEST_SPLIT)
    if not rescaled.any() or (abs(common) <= SMALLEST_SPLIT and rescaled.sum() < ENOUGH):
        return 1.0
    told = same.mean() > 0.9 and len(both) >= len(stays) and stays["date"].max() < both["date"].max()
    if abs(common) > SMALLEST_SPLIT and told:
        return float(np.exp(common))
    first = both["date"][rescaled].iloc[0]
    raise StockcastError(
        f"{stored['ticker'].iloc[0]} would stand in two kinds of shares: its price of {first:%Y-%m-%d} and of "
        f"{int(rescaled.sum()) - 1} more sessions is {np.exp(-middle[rescaled][0]):.4g} times the stored one, while "
        f"{len(stays)} stored bars (first: {stays['date'].iloc[0]:%Y-%m-%d}) are not among what came. Supply all of "
        f"its past in the same shares, or let what comes replace it: `stockcast backfill --tickers "
        f"{stored['ticker'].iloc[0]} --assets price_history --replace`."
    )
