"""The series that are watched for drift, of three kinds, all free of scale: price levels always drift.

- `inputs`: what the market does. Returns, ranges, ratios, an oscillator.
- `predictions`: what the model in use says, of the sessions it was trained on and of those since alike. The interval's
  width and the median's distance from the last close.
- `residuals`: where closes fell within the forecasts that were published for them, as the share of outcomes the
  forecast expected below the close (its probability integral transform). If forecasts are right, this is uniform and,
  one session ahead, independent from day to day (Diebold, Gunther & Tay, 1998), whichever model made each of them.

A row of a series depends on its own and earlier sessions only, and on a model that knew no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist

from stockcast_assets.libraries import np, pd
from stockcast_assets.market import indicators
from stockcast_assets.market.indicators import Floats
from stockcast_assets.tables import HORIZON, QUANTILE_COLUMNS, QUANTILES, RSI, VOLUME_WINDOW

INPUTS, PREDICTIONS, RESIDUALS = "inputs", "predictions", "residuals"
FEATURES: Mapping[str, tuple[str, ...]] = {
    INPUTS: ("log_return", "log_range", "volume_ratio", RSI, "macd_hist_ratio"),
    PREDICTIONS: ("width_1", f"width_{HORIZON}", f"median_{HORIZON}"),
    RESIDUALS: ("pit", "pit_distance"),
}
"""The compared features of each kind; no name is of two kinds."""

KIND_OF: Mapping[str, str] = {feature: kind for kind, features in FEATURES.items() for feature in features}
"""The kind of each feature."""

_LOW, _MEDIAN, _HIGH = (QUANTILES.index(level) for level in (0.10, 0.50, 0.90))
_NORMAL = NormalDist()

FORECAST_COLUMNS = ("ticker", "date", "horizon", *QUANTILE_COLUMNS)
"""What `residuals` reads of `forecasts`."""

ACCURACY_COLUMNS = ("ticker", "date", "horizon", "as_of_date", "actual_close", "error", "pit")
"""What `residuals` reads of `forecast_accuracy`."""


def inputs(bars: pd.DataFrame) -> pd.DataFrame:
    """What the market did, of one ticker.

    Args:
        bars: `raw_prices` columns of one ticker from its first stored bar, sorted by date.

    Returns:
        `date` and the features, one row per bar, NaN while warming up or undefined (no volume, say):
        `log_return` of the dividend-adjusted close; `log_range` log(high / low); `volume_ratio` log of volume
        over its 20-session mean; `rsi_14`; `macd_hist_ratio` MACD histogram over the adjusted close.
    """
    close = bars["adj_close"].to_numpy(np.float64)
    high, low = bars["high"].to_numpy(np.float64), bars["low"].to_numpy(np.float64)
    volume = bars["volume"].to_numpy(np.float64)
    *_, histogram = indicators.macd(close)
    with np.errstate(divide="ignore", invalid="ignore"):
        volume_ratio = np.log(volume / indicators.sma(volume, VOLUME_WINDOW))
    columns = (
        indicators.log_returns(close),
        np.log(high / low),
        np.where(np.isfinite(volume_ratio), volume_ratio, np.nan),
        indicators.rsi(close),
        histogram / close,
    )
    return pd.DataFrame({"date": bars["date"].to_numpy(), **dict(zip(FEATURES[INPUTS], columns, strict=True))})


def predictions(dates: pd.DatetimeIndex, quantiles: Floats) -> pd.DataFrame:
    """What a model says as of each of `dates`.

    Args:
        dates: as-of sessions.
        quantiles: [dates, horizons, `QUANTILES`] of the log returns.

    Returns:
        `date` and the features: `width_1` and `width_10`, logarithm of the distance between the 10 % and 90 %
        quantiles one and ten sessions ahead; `median_10`, the median's log return over ten sessions.
    """
    width = np.log(np.maximum(quantiles[:, :, _HIGH] - quantiles[:, :, _LOW], np.finfo(np.float64).tiny))
    columns = (width[:, 0], width[:, -1], quantiles[:, -1, _MEDIAN])
    return pd.DataFrame({"date": dates, **dict(zip(FEATURES[PREDICTIONS], columns, strict=True))})


def residuals(forecasts: pd.DataFrame, accuracy: pd.DataFrame) -> pd.DataFrame:
    """Where the closes of one ticker fell within the forecasts made the session before.

    One session ahead only: the outcomes of ten sessions overlap, so sixty of them say as much as six.

    Args:
        forecasts: rows of `forecasts` of one ticker (`FORECAST_COLUMNS`).
        accuracy: rows of `forecast_accuracy` of the ticker (`ACCURACY_COLUMNS`).

    Returns:
        `date` (target session) and the features: `pit`, the probability that the forecast gave to closes below
        the one that came, as it was scored, and computed for scores of earlier releases; `pit_distance`, its distance
        from the median, |2 pit - 1|. Both uniform from 0 to 1 if the forecasts are right.
    """
    made = forecasts[forecasts["horizon"] == 1].rename(columns={"date": "as_of_date"})
    scored = accuracy[accuracy["horizon"] == 1].merge(made[["as_of_date", *QUANTILE_COLUMNS]], on="as_of_date")
    scored = scored.sort_values("date", ignore_index=True)
    actual, error = (scored[name].to_numpy(np.float64) for name in ("actual_close", "error"))
    computed = probability_below(scored[list(QUANTILE_COLUMNS)].to_numpy(np.float64), actual, error)
    known = scored["pit"].to_numpy(np.float64)
    pit = np.where(np.isnan(known), computed, known)
    columns = (pit, np.abs(2 * pit - 1))
    return pd.DataFrame({"date": scored["date"].to_numpy(), **dict(zip(FEATURES[RESIDUALS], columns, strict=True))})


def probability_below(quantiles: Floats, actual: Floats, error: Floats) -> Floats:
    """The probability that forecasts gave to closes below the ones that came: their probability integral transform.

    Args:
        quantiles: [n, levels] closes.
        actual: [n] closes that came.
        error: [n] median forecast - actual close. In the shares of the target's bar, as `actual` is, which a split may
            have made others than the quantiles'.
    """
    position = np.log(actual / (actual + error) * quantiles[:, _MEDIAN])
    return _probability(np.log(quantiles), position)


def _probability(quantiles: Floats, position: Floats) -> Floats:
    """The probability below `position` [n], by normal scores linear between `quantiles` [n, levels] and beyond."""
    normal = np.array([_NORMAL.inv_cdf(level) for level in QUANTILES])
    segment = np.clip((position[:, None] >= quantiles).sum(axis=1) - 1, 0, len(normal) - 2)
    row = np.arange(len(position))
    left, right = quantiles[row, segment], quantiles[row, segment + 1]
    share = np.zeros(len(position))
    # Equal quantiles: the forecast knows one value only, and the close is at its end of it.
    np.divide(position - left, right - left, out=share, where=right > left)
    scores = normal[segment] + share * (normal[segment + 1] - normal[segment])
    return np.array([_NORMAL.cdf(score) for score in scores], dtype=np.float64)
