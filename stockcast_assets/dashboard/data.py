"""Every read of the dashboard: by the warehouse's read interface, kept while it does not change, nothing left open."""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
import streamlit as st

from stockcast_assets import tables
from stockcast_assets.as_known import world_of
from stockcast_assets.charts.fan import Report
from stockcast_assets.clock import utc_now
from stockcast_assets.dashboard import summaries
from stockcast_assets.dashboard.cache import Cache
from stockcast_assets.errors import StockcastError, WarehouseBusyError
from stockcast_assets.market import indicators
from stockcast_assets.market.adjust import one_series, with_total_return
from stockcast_assets.market.known import day_ends_at
from stockcast_assets.market.second_opinion import Opinion
from stockcast_assets.monitoring import live, series
from stockcast_assets.monitoring.reports import ReportStore
from stockcast_assets.settings import Settings, load_settings
from stockcast_assets.tables import Table

if TYPE_CHECKING:
    from stockcast_assets.forecasting.risk.report import PortfolioRisk
    from stockcast_assets.orchestration.tickers import TickerState

# A visitor waits this long for a run that holds the DuckDB file; the IO manager waits a minute.
LOCK_SECONDS = 3.0
# BigQuery has no cheap sign that something changed: read again after a minute.
TTL_SECONDS = 60
RECENT_DAYS = 45
_WIDER_DAYS = 400
UNIVERSE_COLUMNS = ("ticker", "date", "close", "pct_return", tables.RSI, tables.VOLATILITY)
_known_on: ContextVar[date | None] = ContextVar("known_on", default=None)
_BAR_COLUMNS = ("ticker", "date", "open", "high", "low", "close", "adj_close", "volume", "dividend", "split_ratio")


@st.cache_resource(show_spinner=False)
def settings() -> Settings:
    """The settings of this server."""
    return load_settings()


@st.cache_resource(show_spinner=False)
def _warehouse() -> Any:
    from stockcast_assets.orchestration.build import warehouse_from
    from stockcast_assets.warehouse import DuckDBWarehouse

    warehouse = warehouse_from(settings())
    if isinstance(warehouse, DuckDBWarehouse):
        warehouse.lock_timeout = LOCK_SECONDS
    return warehouse


def show_world_of(day: date | None) -> None:
    """Show, on this page, what was known at the end of a day; what is known now if it is None."""
    _known_on.set(day)


def known_on() -> date | None:
    """The day of whose end this page shows what was known; None: it is what is known now."""
    return _known_on.get()


def _world() -> Any:
    return world_of(_warehouse(), known_on())


def place() -> str:
    """Where the tables are, for a sentence that says that something is not there."""
    return str(_warehouse().place)


@st.cache_resource(show_spinner=False)
def _cache() -> Cache:
    return Cache(_version)


def _kept(key: Hashable, read: Callable[[], Any]) -> Any:
    """What was read under a key, of the world that this page shows."""
    return _cache().get((known_on(), key), read)


def _version() -> Hashable:
    warehouse = _warehouse()
    return warehouse.version, None if warehouse.written_at else int(time.time()) // TTL_SECONDS


def written_at() -> datetime | None:
    """When the tables were written last (UTC); None where that is not known, as of BigQuery, or nothing is there."""
    written: datetime | None = _warehouse().written_at
    return written


def read(
    table: Table,
    *,
    tickers: Sequence[str] | None = None,
    start: date | None = None,
    end: date | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Rows of a table, as `Warehouse.read` gives them; the caller must not change the frame.

    Raises:
        WarehouseBusyError: a run holds the warehouse and these rows were never read before.
        StockcastError: the warehouse cannot be read.
    """
    key = (
        table.name,
        None if tickers is None else tuple(tickers),
        start,
        end,
        None if columns is None else tuple(columns),
    )
    frame: pd.DataFrame = _kept(
        key, lambda: _world().read(table, tickers=tickers, start=start, end=end, columns=columns)
    )
    return frame


def recent(table: Table, columns: Sequence[str] | None = None, days: int = RECENT_DAYS) -> pd.DataFrame:
    """The rows of the last `days` days; of more, and at last the whole table, only if nothing is that new."""
    until = min(date.today(), settings().end_date or date.max, known_on() or date.max)
    for reach in (days, _WIDER_DAYS):
        rows = read(table, start=until - timedelta(days=reach), columns=columns)
        if len(rows):
            return rows
    return read(table, columns=columns)


def universe() -> pd.DataFrame:
    """The latest state of every ticker; see `summaries.universe`."""
    return summaries.universe(
        recent(tables.INDICATORS, UNIVERSE_COLUMNS),
        recent(
            tables.FORECASTS,
            ["ticker", "date", "horizon", "last_close", "close_p10", "close_p50", "close_p90", "method"],
        ),
        recent(tables.DRIFT_REPORT, ["ticker", "date", "feature", "drifted"]),
    )


def scores(ticker: str | None, sessions: int | None) -> pd.DataFrame:
    """The scores of forecasts of a ticker's, or of all tickers', last sessions; of all sessions if None."""
    columns = (*live.COLUMNS, "actual_close", "error", "naive_error")
    if ticker is not None:
        rows = read(tables.FORECAST_ACCURACY, tickers=[ticker], columns=columns)
    elif sessions is None:
        rows = read(tables.FORECAST_ACCURACY, columns=columns)
    else:
        rows = recent(tables.FORECAST_ACCURACY, columns, days=_days_of(sessions))
    return live.recent(rows, sessions)


def beside_har(sessions: int) -> tuple[str, pd.DataFrame]:
    """`live.by_ticker` of all tickers' last sessions, of the forecasts that came in time, or of those that there are.

    Returns:
        When they were published, one of `live.by_publication`'s, and the table; it is empty if nothing is compared.
    """

    def compute() -> tuple[str, pd.DataFrame]:
        rows = recent(tables.FORECAST_ACCURACY, live.TICKER_COLUMNS, days=_days_of(sessions))
        parts = {name: live.by_ticker(live.recent(part, sessions)) for name, part in live.by_publication(rows).items()}
        return next(((name, table) for name, table in parts.items() if len(table)), (live.UNKNOWN, pd.DataFrame()))

    found: tuple[str, pd.DataFrame] = _kept(("beside_har", sessions), compute)
    return found


def _days_of(sessions: int) -> int:
    """Days that hold so many sessions of an exchange, whatever the holidays."""
    return sessions * 3 // 2 + 30


def risk(holdings: tuple[tuple[str, float], ...]) -> "PortfolioRisk":
    """The risk of holdings, ticker and quantity, as of the newest day of which all have a forecast.

    Raises:
        StockcastError: if a ticker has no forecast, or too short a past.
    """
    from stockcast_assets.orchestration.portfolio import risk_of

    found: PortfolioRisk = _kept(("risk", holdings), lambda: risk_of(_world(), dict(holdings)))
    return found


def next_reports(as_of: Mapping[str, pd.Timestamp]) -> dict[str, Report]:
    """The next report of each ticker, as known at the end of its day; without those of which none is expected."""
    from stockcast_assets.forecasting.universe.earnings import next_report

    said = read(tables.EARNINGS_DATES, tickers=list(as_of))
    found = {str(name): next_report(rows, as_of[str(name)].to_datetime64()) for name, rows in said.groupby("ticker")}
    return {name: (pd.Timestamp(one[0]), *one[1:]) for name, one in found.items() if one is not None}


def reports(ticker: str, as_of: pd.Timestamp) -> list[Report]:
    """The reports of a ticker that had come by the end of a day, and the next one, ascending."""
    from stockcast_assets.market.earnings import FILED, known

    held = known(read(tables.EARNINGS_DATES, tickers=[ticker]), as_of)
    came = held[(held["kind"] == FILED) & (held["date"] <= as_of)]
    ahead = next_reports({ticker: as_of})
    return [*came[["date", "hour", "kind"]].itertuples(index=False, name=None), *ahead.values()]


def tickers() -> list[str]:
    """Tickers with a model, a recent bar or a history, sorted."""
    known = {*read(tables.TRAINED_MODEL, columns=["ticker", "date"])["ticker"]}
    known |= {*recent(tables.RAW_PRICES, columns=["ticker", "date"])["ticker"]}
    if not known:
        known |= {*read(tables.PRICE_HISTORY, columns=["ticker", "date"])["ticker"]}
    return sorted(known)


def models(ticker: str) -> pd.DataFrame:
    """The rows of `trained_model` of a ticker; columns that a table of an earlier release lacks are null."""
    frame: pd.DataFrame = _kept(("models", ticker), lambda: _world().read(tables.TRAINED_MODEL, tickers=[ticker]))
    return frame


def months_with_a_card(ticker: str) -> list[str]:
    """The months of use, 2013-02, of which a ticker has a model, newest first: now, or as known on the page's day.

    Raises:
        StockcastError: if MLflow, which alone knows the models of a past day, does not answer.
    """
    from stockcast_assets.orchestration.build import registry_from
    from stockcast_assets.tracking.cards import models_known

    day = known_on()
    if day is None:
        rows = models(ticker)
    else:
        rows = _kept(("models_known", ticker), lambda: models_known(registry_from(settings()), ticker, day))
    return sorted({f"{month:%Y-%m}" for month in rows["date"]}, reverse=True)


def card(ticker: str, month: str) -> str:
    """The card of a ticker's newest model of a month of use, now or as known on the page's day.

    Raises:
        StockcastError: if there is none.
    """
    from stockcast_assets.forecasting.card import card_of, stored_model
    from stockcast_assets.orchestration.build import registry_from
    from stockcast_assets.tracking.cards import card_known

    day, first = known_on(), date.fromisoformat(f"{month}-01")
    if day is None:
        return card_of(read, stored_model(read, ticker, first))
    found: str = _kept(
        ("card", ticker, month), lambda: card_known(registry_from(settings()), read, ticker, first, day)[1]
    )
    return found


def drift(ticker: str) -> pd.DataFrame:
    """The rows of `drift_report` of a ticker, each with its kind: a table of an earlier release knew inputs only."""
    rows = _kept(("drift", ticker), lambda: _world().read(tables.DRIFT_REPORT, tickers=[ticker]))
    frame: pd.DataFrame = rows.assign(kind=rows["kind"].fillna(series.INPUTS))
    return frame


def bars(ticker: str, since: date | None = None, columns: Sequence[str] = _BAR_COLUMNS) -> pd.DataFrame:
    """The bars of a ticker, sorted by date, as `one_series` makes them.

    `adj_close` is `total_return_close`, as the assets compute with it, if the bars are read from the first on.
    """
    daily = read(tables.RAW_PRICES, tickers=[ticker], start=since, columns=columns)
    past = read(tables.PRICE_HISTORY, tickers=[ticker], start=since, columns=columns)
    both = one_series(daily, past)
    return both if since else with_total_return(both)


def newest_bars(ticker: str) -> pd.DataFrame:
    """`date`, `source` and `ingested_at` of a ticker's bars of the last two months it has any; empty if it has none."""
    columns = ["ticker", "date", "source", "ingested_at"]
    days = bars(ticker, columns=["ticker", "date"], since=date(1900, 1, 1))["date"]
    if days.empty:
        return pd.DataFrame(columns=columns)
    return bars(ticker, (days.iloc[-1] - pd.Timedelta(days=60)).date(), columns)


def studied(ticker: str) -> pd.DataFrame:
    """All bars of a ticker with their indicators beside them.

    Computed here with the functions the `indicators` asset uses, because that table begins at
    STOCKCAST_START_DATE and a chart should not.
    """
    prices = bars(ticker).reset_index(drop=True)
    computed = indicators.compute(prices).drop(columns=["ticker", "date", "close"])
    return pd.concat([prices, computed], axis=1)


@st.cache_resource(show_spinner=False)
def report_store() -> ReportStore:
    """Where the drift reports are: a folder or a bucket."""
    from stockcast_assets.orchestration.build import reports_from

    return reports_from(settings())


@st.cache_data(ttl=TTL_SECONDS, max_entries=200, show_spinner=False)
def drift_record(ticker: str, day: date) -> dict[str, Any] | None:
    """The stored numbers of a day's report; None if it was pruned or never made."""
    return report_store().record(ticker, day)


@st.cache_data(ttl=600, max_entries=4, show_spinner=False)
def drift_page(ticker: str, day: date) -> str:
    """Evidently's full report of a day; StockcastError if the day has none."""
    store = report_store()
    record = store.require_record(ticker, day)
    return store.page(ticker, day, _compared_series(ticker, day, record.get("model_version")))


def _compared_series(ticker: str, day: date, model_version: str | None) -> pd.DataFrame:
    """The series of a day's report; without predictions if the model that made them cannot be asked any more."""
    from stockcast_assets.forecasting.serving.predict import hindcast
    from stockcast_assets.orchestration.assets.bars import surroundings_of
    from stockcast_assets.orchestration.assets.drift_report import observed, stored_residuals
    from stockcast_assets.orchestration.build import registry_from
    from stockcast_assets.tracking.serving import ModelServer

    own = bars(ticker)
    seen = observed(own, stored_residuals(_warehouse(), [ticker], day, day)[ticker])
    if model_version is None:
        return seen
    rows = models(ticker).to_dict("records")
    server = ModelServer(ticker, rows, own, registry_from(settings()), settings().model_max_age_days)
    try:
        ((serving, _),) = server.by_model([pd.Timestamp(day)])
    except StockcastError:
        return seen
    if serving.version != model_version:
        return seen
    around = surroundings_of([serving.forecaster], _warehouse(), day)
    return seen.merge(series.predictions(*hindcast(serving.forecaster, own, around)), on="date", how="left")


def ticker_states(names: tuple[str, ...]) -> "dict[str, TickerState]":
    """What is to become of each ticker, and what its company is called; {} if this machine runs no Dagster.

    Of a past day, what was to become of those that were there.
    """
    return _states(names, known_on())


@st.cache_data(ttl=TTL_SECONDS, max_entries=4, show_spinner=False)
def _states(names: tuple[str, ...], day: date | None) -> "dict[str, TickerState]":
    from stockcast_assets.orchestration import ticker_space
    from stockcast_assets.orchestration.home import open_instance
    from stockcast_assets.orchestration.tickers import states_known
    from stockcast_assets.orchestration.tickers import ticker_states as states

    if not settings().dagster_home.exists():
        return {}
    with open_instance(settings()) as instance:
        now = states(instance, names)
        if day is None:
            return now
        then = states_known(ticker_space.read(instance), day_ends_at(day))
        return {name: replace(then[name], company=now[name].company) for name in names if name in then}


def company(ticker: str) -> str:
    """What a ticker's company is called; empty if nobody said so, or it cannot be read now."""
    try:
        state = ticker_states((ticker,)).get(ticker)
    except StockcastError:
        return ""
    return "" if state is None else state.company


def loss() -> str | None:
    """That rows which Dagster remembers are not in the warehouse, and what to do, in a sentence; None if all are there,
    if a run holds the warehouse, if this machine runs no Dagster, or if a past day is shown."""
    from stockcast_assets.orchestration.build import other_warehouse
    from stockcast_assets.orchestration.home import open_instance
    from stockcast_assets.orchestration.planning.reconcile import survey

    def compare() -> str | None:
        with open_instance(settings()) as instance:
            return survey(instance, _warehouse(), other_warehouse(settings())).loss()

    if known_on() is not None or not settings().dagster_home.exists():
        return None
    try:
        return cast(str | None, _kept("loss", compare))
    except WarehouseBusyError:
        return None


def opinion(ticker: str) -> Opinion | str:
    """What the second source says of a ticker's stored bars, or in words why it says nothing."""
    if known_on() is not None:
        return "The second source is asked about what is stored now."
    return _opinion(ticker)


@st.cache_data(ttl=600, max_entries=50, show_spinner=False)
def _opinion(ticker: str) -> Opinion | str:
    from stockcast_assets.orchestration.asset_checks.second_opinion import opinions
    from stockcast_assets.orchestration.build import sources_from

    second = settings().second_source
    if second is None:
        return "No second source is set (STOCKCAST_SECOND_SOURCE), so nobody else was asked about these bars."
    found = opinions(_warehouse(), sources_from(settings()), second, [ticker], utc_now().date())
    return found.get(ticker, f"No bar of {ticker} is stored.")


def revisions(ticker: str) -> pd.DataFrame:
    """What the source later said otherwise about stored bars, newest first.

    Returns:
        `seen` (UTC), `date`, `kind`, `column`, `before`, `after`; empty if this machine has no Dagster log.
    """
    found: pd.DataFrame = _revisions(ticker)
    day = known_on()
    return found if day is None or found.empty else found[found["seen"] < day_ends_at(day)].reset_index(drop=True)


@st.cache_data(ttl=TTL_SECONDS, max_entries=50, show_spinner=False)
def _revisions(ticker: str) -> pd.DataFrame:
    from stockcast_assets.orchestration.home import open_instance
    from stockcast_assets.orchestration.sensors.revisions import revisions as on_record

    columns = ["seen", "date", "kind", "column", "before", "after"]
    if not settings().dagster_home.exists():
        return pd.DataFrame(columns=columns)
    with open_instance(settings()) as instance:
        found = on_record(instance).rename(columns={"found_at": "seen"})
    return found.loc[found["ticker"] == ticker, columns].reset_index(drop=True)
