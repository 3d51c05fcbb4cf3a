"""Joint scenarios of several tickers: what they did together after each past session, at today's width.

Filtered historical simulation (Barone-Adesi et al., 1999) of vectors: a ticker's moves over the next 1..HORIZON
sessions, in units of the volatility before them, are its residuals, and those of the same session belong together.
Each past session is a scenario: its residuals, laid on the median and the 90 % interval that are published for the day.
So the scenarios of a ticker have its published interval, and tickers that fell together fall together. Nothing is
drawn at random: no seed is needed, and no error comes of sampling.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from stockcast_assets.forecasting.config import HORIZON, MEDIAN
from stockcast_assets.forecasting.features import History
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats

DRAWS = 1250
"""Past sessions that are scenarios: the last ones of which every outcome is known, five years of them."""

FEWEST = 250
"""Past sessions below which nothing is said: the worst hundredth of them were two or three days."""

Days: TypeAlias = "np.ndarray"
"""datetime64[D], ascending."""

_LEVELS = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Residuals:
    """A ticker's past moves over the volatility before them.

    Attributes:
        days: [n] the sessions after which they happened.
        known_on: [n] the sessions at whose end all HORIZON moves were known.
        moves: [n, HORIZON] log returns of the next 1..HORIZON sessions over the EWMA volatility of the session.
    """

    days: Days
    known_on: Days
    moves: Floats

    @classmethod
    def of(cls, history: History) -> Residuals:
        """Of every session of a history that has a volatility and known outcomes."""
        days = history.dates.to_numpy().astype("datetime64[D]")
        rows = np.flatnonzero(np.isfinite(history.ewma[:-HORIZON]))
        return cls(days[rows], days[rows + HORIZON], history.outcomes(rows) / history.ewma[rows, None])


def as_day(moment: pd.Timestamp | date) -> np.datetime64:
    """A day as `Days` have it."""
    return np.datetime64(pd.Timestamp(moment).date())


def sessions_drawn(residuals: Iterable[Residuals], day: np.datetime64) -> Days:
    """The last DRAWS sessions of any of the tickers whose outcomes were known at the end of `day`, ascending."""
    known = [one.days[one.known_on <= day] for one in residuals]
    every: Days = np.unique(np.concatenate(known)) if known else np.empty(0, "datetime64[D]")
    return every[-DRAWS:]


def draws(residuals: Residuals, sessions: Days, quantiles: Floats, day: np.datetime64) -> Floats:
    """A ticker's log returns in each scenario, a function of what was known at the end of `day`.

    Args:
        residuals: its own; later ones are not looked at.
        sessions: [n] the sessions that are drawn.
        quantiles: [horizons, quantiles] published log returns of the next 1..horizons sessions.
        day: the as-of day.

    Returns:
        [n, horizons]; NaN where the ticker has no residual of the session.
    """
    found = np.full((len(sessions), len(quantiles)), np.nan)
    known = residuals.days[residuals.known_on <= day]
    there = np.flatnonzero(np.isin(sessions, known))
    if not len(there):
        return found
    moves = residuals.moves[known.searchsorted(sessions[there]), : len(quantiles)]
    low, middle, high = np.quantile(moves, _LEVELS, axis=0)
    width = high - low
    scale = np.divide(quantiles[:, -1] - quantiles[:, 0], width, out=np.zeros_like(width), where=width > 0)
    found[there] = quantiles[:, MEDIAN] + (moves - middle) * scale
    return found


def digest_of(drawn: Mapping[str, Floats]) -> str:
    """SHA-256 of the scenarios of several tickers: float64, big-endian, in the order of their symbols."""
    digest = hashlib.sha256()
    for ticker in sorted(drawn):
        digest.update(np.ascontiguousarray(drawn[ticker], ">f8").tobytes())
    return digest.hexdigest()


def packed(sessions: Days) -> str:
    """Sessions as they are stored: base64 of int32, little-endian, days since 1970."""
    return base64.b64encode(sessions.astype("datetime64[D]").astype("<i4").tobytes()).decode()


def unpacked(text: str) -> Days:
    """What `packed` packed."""
    days: Days = np.frombuffer(base64.b64decode(text), "<i4").astype("datetime64[D]")
    return days
