"""The daily forecast: published quantiles of the next sessions' closes, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from statistics import NormalDist

from stockcast_assets import tables
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, QUANTILES
from stockcast_assets.forecasting.features import History, Needed, Rows, prepare, prepare_many
from stockcast_assets.forecasting.models.tails import beyond
from stockcast_assets.forecasting.one_thread import one_thread
from stockcast_assets.forecasting.serving.forecaster import Published, published_quantiles
from stockcast_assets.forecasting.universe.forecaster import UniverseForecaster
from stockcast_assets.forecasting.universe.inputs import Series, Surroundings
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats

QUANTILE_COLUMNS, TAIL_COLUMNS = list(tables.QUANTILE_COLUMNS), list(tables.TAIL_COLUMNS)
COLUMNS = ["ticker", "date", "horizon", "last_close", *QUANTILE_COLUMNS, "naive_close", "method", *TAIL_COLUMNS]
BASELINE_COLUMNS = list(tables.BASELINE_COLUMNS)


def _needed(model: Published, bars: pd.DataFrame, days: pd.DatetimeIndex) -> tuple[Needed, Rows]:
    """The bars that forecasts of the `days` look at, and the numbers of the days."""
    dates, asked = bars["date"].to_numpy(), days.to_numpy()
    numbers = dates.searchsorted(asked)
    absent = dates[np.minimum(numbers, len(dates) - 1)] != asked
    if absent.any():
        raise StockcastError(
            f"{model.ticker} has no bar on {days[absent][0].date()}: ingest that session before forecasting from it."
        )
    return Needed(bars, model.first_needed(dates, int(numbers[0])), int(numbers[-1]) + 1), numbers


def forecast(
    models: Mapping[str, Published],
    bars: Mapping[str, pd.DataFrame],
    days: Mapping[str, Sequence[date | pd.Timestamp]],
    around: Surroundings | None = None,
) -> pd.DataFrame:
    """Forecast each ticker as of the end of each of its `days`.

    A row's bits depend on its model and the ticker's bars up to its day alone, of a universe's model on the market and
    the reports known on that day, too: not on later bars, other days or other tickers of the call, nor on the machine's
    cores.

    Args:
        models: the month's model per ticker.
        bars: per ticker all bars from its first stored one, at least up to the last of its days.
        days: as-of sessions per ticker, none before the end of the model's training.
        around: the market and the reports that models of a universe look at.

    Returns:
        Long frame with COLUMNS and BASELINE_COLUMNS, sorted by (ticker, date, horizon); prices in the unit of the bars.
        A baseline that a model does not have is NaN.

    Raises:
        StockcastError: if a model, or the bar of a day, is missing, or a day precedes its model.
    """
    asked = {
        ticker: pd.DatetimeIndex(sorted({pd.Timestamp(day) for day in of_ticker}))
        for ticker, of_ticker in sorted(days.items())
        if len(of_ticker)
    }
    if not asked:
        return pd.DataFrame(columns=[*COLUMNS, *BASELINE_COLUMNS])
    needed, numbers = [], []
    with one_thread():
        for ticker, of_ticker in asked.items():
            _require_model(ticker, models, bars)
            of_bars, of_days = _needed(models[ticker], bars[ticker], of_ticker)
            needed.append(of_bars)
            numbers.append(of_days)
        chosen = [models[ticker] for ticker in asked]
        histories = [
            _looked_at(model, history, of_bars.first)
            for model, history, of_bars in zip(chosen, prepare_many(needed), needed, strict=True)
        ]
        rows = [of_days - history.skipped for of_days, history in zip(numbers, histories, strict=True)]
        seen = _seen(chosen, histories, [bars[ticker] for ticker in asked], around)
        returns = published_quantiles(chosen, histories, seen, rows)
        beside = [model.beside(of_model, of_days) for model, of_model, of_days in zip(chosen, seen, rows, strict=True)]
    closes = [history.close[of_days] for history, of_days in zip(histories, rows, strict=True)]
    outer = [beyond(of_ticker, model.tails) for of_ticker, model in zip(returns, chosen, strict=True)]
    counts = [len(of_ticker) for of_ticker in asked.values()]
    last_close = np.repeat(np.concatenate(closes), HORIZON)
    keys = {
        "ticker": np.repeat(np.array(list(asked), dtype=object), counts).repeat(HORIZON),
        "date": np.concatenate([of_ticker.to_numpy() for of_ticker in asked.values()]).repeat(HORIZON),
        "horizon": np.tile(np.arange(1, HORIZON + 1), sum(counts)),
        "last_close": last_close,
    }

    def prices(columns: Sequence[str], logs: Sequence[Floats]) -> dict[str, Floats]:
        each = [close[:, None, None] * np.exp(of_ticker) for close, of_ticker in zip(closes, logs, strict=True)]
        return dict(zip(columns, np.concatenate(each).reshape(-1, len(columns)).T, strict=True))

    methods = np.repeat(np.array([models[ticker].method for ticker in asked], dtype=object), counts).repeat(HORIZON)
    levels, tails = prices(QUANTILE_COLUMNS, returns), prices(TAIL_COLUMNS, outer)
    stored = {**keys, **levels, "naive_close": last_close, "method": methods, **tails}
    return pd.DataFrame(stored | _baselines(beside, counts, last_close))


def _baselines(beside: Sequence[Mapping[str, Floats]], counts: Sequence[int], last_close: Floats) -> dict[str, Floats]:
    """BASELINE_COLUMNS of what stands beside each model, [n, HORIZON, quantiles] of the log returns by name."""

    def of_all(name: str) -> Floats:
        """[rows, quantiles]"""
        absent = (np.full((count, HORIZON, len(QUANTILES)), np.nan) for count in counts)
        parts = [of_model.get(name, nothing) for of_model, nothing in zip(beside, absent, strict=True)]
        return np.concatenate(parts).reshape(-1, len(QUANTILES))

    highest = NormalDist().inv_cdf(QUANTILES[-1])
    found = {column: of_all(name)[:, -1] / highest for name, column in tables.SIGMA_COLUMNS.items()}
    for name, columns in tables.BESIDE_COLUMNS.items():
        found |= dict(zip(columns, (last_close[:, None] * np.exp(of_all(name))).T, strict=True))
    return found


def hindcast(
    model: Published, bars: pd.DataFrame, around: Surroundings | None = None
) -> tuple[pd.DatetimeIndex, Floats]:
    """What a model says as of every session of its ticker that it can be asked about, its own training included.

    A session's bits depend on the model and the bars up to it alone. These are no forecasts to judge a model by.

    Args:
        model: the model.
        bars: the ticker's bars from its first stored one.
        around: the market and the reports that a model of a universe looks at.

    Returns:
        The as-of sessions, and their quantiles of the log returns, [sessions, HORIZON, QUANTILES].
    """
    with one_thread():
        history = prepare(bars)
        rows, quantiles = model.hindcast(_seen([model], [history], [bars], around)[0])
    return history.dates[rows], quantiles


def looks_around(models: Iterable[Published]) -> bool:
    """Whether any of the models looks at more than its ticker's bars."""
    return any(isinstance(model, UniverseForecaster) for model in models)


def _looked_at(model: Published, history: History, first: int) -> History:
    """The sessions that a universe's network looks at, from number `first` on, and the one before.

    Earlier ones were needed for features, which are there: to place in the market what no network reads would take most
    of the time.
    """
    if not isinstance(model, UniverseForecaster) or model.goes_on_from is None:
        return history
    return history.since(max(0, first - 1 - history.skipped))


def _seen(
    models: Sequence[Published],
    histories: Sequence[History],
    bars: Sequence[pd.DataFrame],
    around: Surroundings | None,
) -> list[History | Series]:
    """What each model looks at: its ticker's sessions, or their place in the universe."""
    seen: list[History | Series] = list(histories)
    parts = [number for number, model in enumerate(models) if isinstance(model, UniverseForecaster)]
    if not parts:
        return seen
    if around is None:
        raise StockcastError(
            f"The model of {models[parts[0]].ticker} is a part of its universe's, and there is no market to forecast "
            "it in: materialise market_days first, which records market_state."
        )
    placed = around.series_of_many([histories[number] for number in parts], [bars[number] for number in parts])
    for number, series in zip(parts, placed, strict=True):
        seen[number] = series
    return seen


def _require_model(ticker: str, models: Mapping[str, Published], bars: Mapping[str, pd.DataFrame]) -> None:
    if ticker not in models or ticker not in bars:
        missing = "model" if ticker not in models else "bars"
        raise StockcastError(f"There is no {missing} of {ticker} to forecast with: materialise it first.")
    if models[ticker].ticker != ticker:
        raise StockcastError(
            f"The model given for {ticker} was trained on {models[ticker].ticker}: load the ticker's own model."
        )
