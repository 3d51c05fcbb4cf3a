"""The tails of a forecast, 1 % and 99 %, told by how far they lie beyond its widest interval.

A scale times fixed quantiles keeps its form whatever the scale, and so does an interval that calibration widens around
its median. So the distance beyond the 5 % and 95 % quantiles, in widths of that interval, is a constant of the model:
the tails follow from published quantiles, those do not change for them, and none ever crosses another.
"""

from __future__ import annotations

from functools import cache
from statistics import NormalDist

from stockcast_assets.forecasting.config import HORIZON, QUANTILES
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats
from stockcast_assets.tables import TAILS

_LEVELS = (TAILS[0], QUANTILES[0], QUANTILES[-1], TAILS[1])


def tails_of(standardised: Floats) -> Floats:
    """[HORIZON, 2] distances beyond the 90 % interval, in its widths, of returns over a sigma [n, HORIZON]."""
    return _beyond(np.quantile(standardised, _LEVELS, axis=0))


def pooled_tails(standardised: Floats) -> Floats:
    """The same with distances and widths averaged over the horizons, as `network.pooled_shape` does."""
    spread = np.quantile(standardised, _LEVELS, axis=0).mean(axis=1, keepdims=True)
    return np.broadcast_to(_beyond(spread), (HORIZON, len(TAILS))).copy()


def pooled_as(shape: Floats, tails: Floats | None) -> Floats | None:
    """`tails` of `shape` [HORIZON, quantiles] as they are once its spread is averaged over the horizons."""
    if tails is None:
        return None
    widths = (shape[:, -1] - shape[:, 0])[:, None]
    pooled = (tails * widths).sum(axis=0) / widths.sum() if widths.sum() > 0 else tails.mean(axis=0)
    return np.broadcast_to(pooled, tails.shape).copy()


@cache
def normal_tails() -> Floats:
    """[HORIZON, 2] of the normal distribution."""
    levels = np.array([NormalDist().inv_cdf(level) for level in _LEVELS])
    return _beyond(levels[:, None] * np.ones(HORIZON))


def beyond(quantiles: Floats, tails: Floats | None) -> Floats:
    """[..., HORIZON, 2] the 1 % and 99 % quantiles beside published `quantiles` [..., HORIZON, quantiles].

    NaN of a model that has no `tails`.
    """
    edges = quantiles[..., [0, -1]]
    if tails is None:
        return np.full(edges.shape, np.nan)
    width = edges[..., 1:] - edges[..., :1]
    outer: Floats = edges + width * tails * np.array([-1.0, 1.0])
    return outer


def _beyond(levels: Floats) -> Floats:
    """[n, 2] of the four `levels` [4, n]."""
    lowest, low, high, highest = levels
    width = high - low
    distances = np.stack([low - lowest, highest - high], axis=-1)
    found: Floats = np.divide(distances, width[:, None], out=np.zeros_like(distances), where=width[:, None] > 0)
    return found
