"""The average of the network and of the interval that it starts from: what is published where neither is shown better.

The mean of each quantile keeps the form of both. Where two forecasts are calibrated, it is no wider than they are, as
the mean of their probabilities would be (Lichtendahl, Grushka-Cockayne and Winkler, 2013).
"""

from __future__ import annotations

from stockcast_assets.market.indicators import Floats


def mean_quantiles(network: Floats, start: Floats) -> Floats:
    """[n, HORIZON, quantiles] of the average, from those of the two."""
    return (network + start) / 2


def mean_tails(network: Floats | None, start: Floats | None) -> Floats | None:
    """[HORIZON, 2] of the average, as in `models.tails`; None if one of the two has none."""
    return None if network is None or start is None else (network + start) / 2
