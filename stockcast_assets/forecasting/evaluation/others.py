"""A contender of anybody's in the walk-forward evaluation: fitted each year, asked on the same days, judged alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, MEDIAN, QUANTILES
from stockcast_assets.forecasting.evaluation.walkforward import Progress, WalkForward
from stockcast_assets.forecasting.models.baselines import Forecast
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats
from stockcast_assets.user_code import told

_SHAPE = (HORIZON, len(QUANTILES))


@dataclass(frozen=True)
class Other:
    """Somebody's contender.

    Attributes:
        name: what it is called.
        make: gives an unfitted one: with `predict(bars)`, and `fit(bars)` if it learns.
    """

    name: str
    make: Callable[[], Any]


def other_of(found: Any, name: str) -> Other:
    """The contender that a user's class or function is.

    Args:
        found: a class that is made without arguments, or a function that takes bars and predicts.
        name: how it was named; a class may have another in its attribute `name`.

    Raises:
        StockcastError: if it cannot predict.
    """
    label = str(getattr(found, "name", "")) or name.rpartition(":")[2]
    if isinstance(found, type):
        if not callable(getattr(found, "predict", None)):
            raise StockcastError(f"{name} has no method `predict`: give it one that takes bars and returns quantiles.")
        return Other(label, found)
    if not callable(found):
        raise StockcastError(f"{name} is neither a class nor a function: name one that predicts.")
    return Other(label, lambda: _Function(found))


@dataclass(frozen=True)
class _Function:
    predict: Callable[[pd.DataFrame], Any]


def with_other(
    walk: WalkForward, bars: Mapping[str, pd.DataFrame], other: Other, progress: Progress | None = None
) -> WalkForward:
    """The evaluation with one contender more, on the same cases.

    Each calendar year it is made anew, fitted on the bars of all tickers before the year, and asked on each as-of
    day with the ticker's bars up to that day: nothing later is there to be looked at.

    Args:
        walk: the evaluation.
        bars: per ticker its bars, as the other contenders had them.
        other: the contender. `predict(bars)` gives [HORIZON, len(QUANTILES)] quantiles of the log returns from the last
            close, dividends reinvested (`adj_close`), of the next 1 … HORIZON sessions.
        progress: called after each ticker's year.

    Raises:
        StockcastError: if its name is taken, it fails, or returns anything else; the sentence names ticker and day.
    """
    if other.name in walk.pooled.contenders:
        raise StockcastError(f"There is a contender {other.name} already: give yours another `name`.")
    days = {ticker: walk.cases[ticker].dates for ticker in walk.tickers}
    years = sorted({int(year) for of_ticker in days.values() for year in of_ticker.year.unique()})
    found: dict[str, list[Floats]] = {ticker: [] for ticker in days}
    total, done = len(years) * len(days), 0
    for year in years:
        model = _fitted(other, bars, pd.Timestamp(year, 1, 1))
        for ticker, of_ticker in days.items():
            own = bars[ticker]
            for day in of_ticker[of_ticker.year == year]:
                known = own.iloc[: int(own["date"].searchsorted(day, side="right"))]
                found[ticker].append(_asked(other, model, known, ticker, day))
            done += 1
            if progress is not None:
                progress(f"{other.name} {year}", done, total)
    joined = {ticker: np.stack(of_ticker) for ticker, of_ticker in found.items()}
    return replace(
        walk,
        cases={
            ticker: replace(
                cases, forecasts={**cases.forecasts, other.name: Forecast(of_ticker, of_ticker[:, :, MEDIAN])}
            )
            for (ticker, cases), of_ticker in zip(walk.cases.items(), joined.values(), strict=True)
        },
    )


def _fitted(other: Other, bars: Mapping[str, pd.DataFrame], start: pd.Timestamp) -> Any:
    try:
        model = other.make()
        if callable(getattr(model, "fit", None)):
            before = [of_ticker[of_ticker["date"] < start] for of_ticker in bars.values()]
            model.fit(pd.concat(before, ignore_index=True))
    except Exception as error:
        raise StockcastError(
            f"{other.name} cannot be fitted for {start.year}: {told(error)}: mend it first."
        ) from error
    return model


def _asked(other: Other, model: Any, known: pd.DataFrame, ticker: str, day: pd.Timestamp) -> Floats:
    where = f"{other.name} as of {day:%Y-%m-%d} of {ticker}"
    try:
        said = np.asarray(model.predict(known), dtype=np.float64)
    except Exception as error:
        raise StockcastError(f"{where} fails: {told(error)}: mend it first.") from error
    if said.shape != _SHAPE:
        raise StockcastError(
            f"{where} returns numbers of shape {said.shape}: return {_SHAPE}, a row for each session ahead, and in "
            f"it the quantiles {', '.join(f'{level:.0%}' for level in QUANTILES)}."
        )
    if not np.isfinite(said).all():
        raise StockcastError(f"{where} returns what is no number: return a log return for each quantile.")
    if (np.diff(said, axis=1) < 0).any():
        raise StockcastError(f"{where} returns quantiles that fall: sort each session's.")
    return said
