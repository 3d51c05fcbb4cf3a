"""stockcast from Python: a home's tables as DataFrames, and forecasts and evaluations of your own bars without Dagster.

For analysts and notebooks. What is read is what the platform stored; nothing here writes.

>>> from stockcast_assets import api
>>> bars = api.sample_bars("AAPL")
>>> forecast = api.forecast(bars)
>>> forecast["target_date"].iloc[-1]
Timestamp('2013-03-15 00:00:00')
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from stockcast_assets import tables
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import ModelConfig
from stockcast_assets.forecasting.evaluation.scores import POOLED, Cases, Evaluation, yearly
from stockcast_assets.forecasting.evaluation.scores import evaluate as scored
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.models.baselines import Forecast, fit_naive
from stockcast_assets.forecasting.serving.own_bars import forecast_from, normalized
from stockcast_assets.inputs import in_order, parse_day, validate_ticker
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.adjust import one_series
from stockcast_assets.methods import RANDOM_WALK
from stockcast_assets.settings import Settings, load_settings
from stockcast_assets.tables import Table
from stockcast_assets.warehouse import Warehouse

__all__ = ["Home", "evaluate", "forecast", "open_home", "sample_bars"]

Day = date | str
"""A day, or one written as YYYY-MM-DD."""


@dataclass(frozen=True)
class Home:
    """What a home stores, for reading. Made by `open_home`.

    Every method takes `tickers` (one, several, or None for all), `start` and `end` (days, both included, or None), and
    gives a frame with `ticker` and `date` first, sorted by them.
    """

    settings: Settings
    warehouse: Warehouse

    def tickers(self) -> list[str]:
        """The tickers with stored bars, sorted.

        >>> home.tickers()
        ['AAPL', 'MSFT']
        """
        stored = [self.warehouse.read(table, columns=["ticker", "date"]) for table in _BARS]
        return sorted({str(ticker) for frame in stored for ticker in frame["ticker"].unique()})

    def bars(
        self, tickers: str | Sequence[str] | None = None, start: Day | None = None, end: Day | None = None
    ) -> pd.DataFrame:
        """Daily bars, `price_history` and `raw_prices` as one series; prices as the source has them.

        >>> home.bars("AAPL", "2013-02-27", "2013-03-01")[["date", "close"]]
                date   close
        0 2013-02-27  444.57
        1 2013-02-28  441.40
        2 2013-03-01  430.47
        """
        daily, past = (self._rows(table, tickers, start, end) for table in _BARS)
        return one_series(daily, past)

    def indicators(
        self, tickers: str | Sequence[str] | None = None, start: Day | None = None, end: Day | None = None
    ) -> pd.DataFrame:
        """Returns, averages, MACD, RSI and volatility of each session, from the first daily key on.

        >>> bool(home.indicators("AAPL", end="2013-03-01")["rsi_14"].iloc[-1] < 50)
        True
        """
        return self._rows(tables.INDICATORS, tickers, start, end)

    def forecasts(
        self, tickers: str | Sequence[str] | None = None, start: Day | None = None, end: Day | None = None
    ) -> pd.DataFrame:
        """Published forecasts, one row per ticker, as-of day and horizon: quantiles of the close, and what made them.

        >>> home.forecasts("AAPL", "2013-03-01")["target_date"].iloc[0]
        Timestamp('2013-03-04 00:00:00')
        """
        return self._rows(tables.FORECASTS, tickers, start, end)

    def published(
        self, tickers: str | Sequence[str] | None = None, start: Day | None = None, end: Day | None = None
    ) -> pd.DataFrame:
        """The ledger: every forecast as it was published, also those that were repaired since.

        The demo publishes forecasts of sessions that are long over.

        >>> bool(home.published("AAPL")["late"].all())
        True
        """
        return self._rows(tables.PUBLISHED_FORECASTS, tickers, start, end)

    def scores(
        self, tickers: str | Sequence[str] | None = None, start: Day | None = None, end: Day | None = None
    ) -> pd.DataFrame:
        """What became of the forecasts, one row per ticker, target session and horizon.

        >>> bool(home.scores("AAPL")["inside_80"].mean() > 0.5)
        True
        """
        return self._rows(tables.FORECAST_ACCURACY, tickers, start, end)

    def models(
        self, tickers: str | Sequence[str] | None = None, start: Day | None = None, end: Day | None = None
    ) -> pd.DataFrame:
        """The months' models with their walk-forward proof; `date` is the first day of the month of use.

        >>> home.models("AAPL")["promoted"].tolist()
        [False, True, True]
        """
        return self._rows(tables.TRAINED_MODEL, tickers, start, end)

    def drift(
        self, tickers: str | Sequence[str] | None = None, start: Day | None = None, end: Day | None = None
    ) -> pd.DataFrame:
        """Drift of inputs, predictions and residuals, one row per ticker, day and feature.

        >>> sorted(home.drift("MSFT")["kind"].unique())
        ['inputs', 'predictions', 'residuals']
        """
        return self._rows(tables.DRIFT_REPORT, tickers, start, end)

    def _rows(
        self, table: Table, tickers: str | Sequence[str] | None, start: Day | None, end: Day | None
    ) -> pd.DataFrame:
        named = [tickers] if isinstance(tickers, str) else tickers
        first, last = _day(start), _day(end)
        if first is not None and last is not None:
            in_order(first, last)
        frame: pd.DataFrame = self.warehouse.read(
            table,
            tickers=None if named is None else [validate_ticker(one) for one in named],
            start=first,
            end=last,
        )
        return frame.sort_values(list(table.primary_key), ignore_index=True)


_BARS = (tables.RAW_PRICES, tables.PRICE_HISTORY)


def _day(day: Day | None) -> date | None:
    return parse_day(day) if isinstance(day, str) else day


def open_home(path: str | Path | None = None) -> Home:
    """Open a home for reading.

    Args:
        path: its folder; None: the one that STOCKCAST_HOME or `.env` names, else `./.stockcast`. The other settings are
            those of the environment, so a home whose tables are in BigQuery is read there.

    Raises:
        StockcastError: if there is no such folder, or a setting is wrong.

    >>> home = api.open_home()
    >>> home.tickers()
    ['AAPL', 'MSFT']
    """
    from stockcast_assets.orchestration.build import warehouse_from

    settings = load_settings()
    if path is not None:
        settings = settings.model_copy(update={"home": Path(path).expanduser().absolute()})
    if settings.warehouse == "duckdb" and not settings.home.is_dir():
        raise StockcastError(
            f"There is no home at {settings.home}: name its folder, or make one with `stockcast demo`."
        )
    return Home(settings, warehouse_from(settings))


def sample_bars(ticker: str = "AAPL") -> pd.DataFrame:
    """The bundled history of AAPL, GOOG, IBM or MSFT up to 2013-03-01, to try the rest with.

    Raises:
        StockcastError: if it is another ticker.

    >>> api.sample_bars("MSFT")[["ticker", "date", "close"]].tail(1)
         ticker       date  close
    3269   MSFT 2013-03-01  27.95
    """
    from stockcast_assets.market.sources.sample import SampleSource

    return SampleSource().bars(ticker, None, date(2013, 3, 1))


def forecast(bars: pd.DataFrame, ticker: str | None = None) -> pd.DataFrame:
    """Forecast the next ten sessions from a frame of one ticker's daily bars.

    By the baseline that stockcast publishes where no network is better: a HAR volatility fitted on these bars, and the
    moves that followed it. With fewer than about 260 sessions it is the random walk.

    Args:
        bars: `date`, `open`, `high`, `low`, `close`, `volume`, perhaps `dividend` or `adj_close`; names in any case, or
            the dates as the index, as yfinance has them. All sessions there are: the forecast is as of the last.
        ticker: whose bars they are, if the frame has no column `ticker`.

    Returns:
        ticker, date, horizon (1 to 10), last_close, close_p05 … close_p95, naive_close, method, close_p01 and
        close_p99, target_date.

    Raises:
        StockcastError: if a column is missing, or there are fewer than 21 sessions.

    >>> rows = api.forecast(api.sample_bars("AAPL"))
    >>> bool((rows["close_p10"] < rows["close_p90"]).all())
    True
    >>> rows["method"].iloc[0]
    'naive_har'
    """
    from stockcast_assets.tracking.serving import naive_on_the_spot

    own = normalized(bars, ticker)
    return forecast_from(naive_on_the_spot(own, own["date"].iloc[-1] + pd.Timedelta(days=1)), own)


def evaluate(bars: pd.DataFrame, start: Day, end: Day | None = None, ticker: str | None = None) -> pd.DataFrame:
    """Judge every baseline on one ticker's own bars, refitted each year on what was known before it.

    `stockcast evaluate` does the same with the network, which takes minutes.

    Args:
        bars: as in `forecast`.
        ticker: as in `forecast`.
        start: the first as-of day that is judged; a few years of bars precede it.
        end: the last one; None: the last whose ten outcomes are known.

    Returns:
        One row per contender, best first: `pinball` (lower is better), `rmse`, `coverage_80` and `pinball_ratio_rw`,
        its pinball loss over that of the random walk.

    Raises:
        StockcastError: if a column is missing, or the history is too short for that start.

    >>> scores = api.evaluate(api.sample_bars("AAPL"), "2012-01-03")
    >>> bool(scores.set_index("contender").loc["har", "pinball_ratio_rw"] < 1)
    True
    """
    history = prepare(normalized(bars, ticker))
    last = _day(end) or history.dates[-1].date()
    folds = yearly(history, _day(start) or last, last, ModelConfig())
    parts: dict[str, list[Forecast]] = {}
    for fold in folds:
        for name, fitted in fit_naive(history, fold.known).items():
            parts.setdefault(name, []).append(fitted.predict(history, fold.test))
    rows = np.concatenate([fold.test for fold in folds])
    joined = {
        name: Forecast(
            np.concatenate([each.quantiles for each in of_name]), np.concatenate([each.point for each in of_name])
        )
        for name, of_name in parts.items()
    }
    before = np.abs(history.targets[folds[0].known]).mean(axis=0)
    evaluation: Evaluation = scored([Cases(history.dates[rows], history.targets[rows], before, joined)])
    table = evaluation.table()
    pooled = table[table["horizon"] == POOLED]
    walk = float(pooled.loc[pooled["contender"] == RANDOM_WALK, "pinball"].iloc[0])
    judged = pooled.assign(pinball_ratio_rw=pooled["pinball"] / walk).sort_values("pinball", ignore_index=True)
    return judged[["contender", "pinball", "rmse", "coverage_80", "pinball_ratio_rw"]]
