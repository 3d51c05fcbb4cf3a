"""A forecast that is made again on another machine: the same but for its last digits.

The bits of a forecast are a function of bars, model and processor: networks count in single precision, and processors
have other instructions to add and to take logarithms by. A difference of that size says nothing about the forecast.
"""

from __future__ import annotations

from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats

ROUNDING = 1e-7
"""Relative difference up to which a price or a volatility is the same but for rounding: that of single precision. Of
quantiles 1e-9 was seen between the ways in which three processors multiply."""

_KEY = ["ticker", "date"]


def but_for_rounding(before: pd.DataFrame, now: pd.DataFrame) -> np.ndarray:
    """[rows] whether rows with the same index and columns say the same but for rounding."""
    alike = np.ones(len(now), bool)
    for name in now.columns:
        one, other = before[name], now[name]
        same = (one.eq(other).fillna(False) | (one.isna() & other.isna())).to_numpy(bool)
        if not same.all() and pd.api.types.is_float_dtype(other.dtype) and pd.api.types.is_float_dtype(one.dtype):
            same |= _near(one.to_numpy(np.float64, na_value=np.nan), other.to_numpy(np.float64, na_value=np.nan))
        alike &= same
    return alike


def _near(one: Floats, other: Floats) -> np.ndarray:
    near: np.ndarray = np.abs(one - other) <= ROUNDING * np.maximum(np.abs(one), np.abs(other))
    return near


def as_said(made: pd.DataFrame, said: pd.DataFrame) -> pd.DataFrame:
    """Forecasts as they were said before, where they say the same but for rounding, else as they were made.

    Args:
        made: rows of `forecasts`, all horizons of each (ticker, as-of date), in the order of ticker, date and horizon.
        said: those of before, of the same keys and perhaps of others; other columns of theirs are not looked at.
    """
    if said.empty:
        return made
    order = [*_KEY, "horizon"]
    paired = made[order].merge(said, on=order, how="left", indicator="there").set_index(made.index)
    before = paired[made.columns]
    alike = paired["there"].eq("both") & but_for_rounding(before, made)
    kept = alike.groupby([made[name] for name in _KEY]).transform("all")
    if not kept.any():
        return made
    return made.assign(**{name: made[name].where(~kept, before[name]) for name in made.columns.difference(order)})
