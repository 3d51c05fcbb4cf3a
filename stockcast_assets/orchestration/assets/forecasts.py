"""`forecasts`: the next 10 sessions of each ticker, as quantiles of the close."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg

from stockcast_assets.charts.png import forecast_png
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.serving.own_bars import with_target_dates
from stockcast_assets.forecasting.serving.predict import forecast
from stockcast_assets.forecasting.universe.inputs import Surroundings
from stockcast_assets.libraries import pd
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.monitoring.heads import HeadStore
from stockcast_assets.orchestration.assets.bars import complete_bars, open_days, stored_models, surroundings_of
from stockcast_assets.orchestration.assets.metadata import forecast_page, picture, show_days, timed
from stockcast_assets.orchestration.assets.publication import published
from stockcast_assets.orchestration.assets.specs import (
    days_by_ticker,
    keyed,
    of_period,
    of_ticker,
    same_ticker,
    table_asset,
)
from stockcast_assets.orchestration.graph import MARKET_DAYS
from stockcast_assets.tables import (
    EARNINGS_DATES,
    FORECASTS,
    INDICATORS,
    MARKET_STATE,
    PRICE_HISTORY,
    RAW_PRICES,
    TRAINED_MODEL,
)
from stockcast_assets.tracking.registry import ModelRegistry, model_name
from stockcast_assets.tracking.serving import ModelServer, Serving, rounds, rows_by_ticker
from stockcast_assets.warehouse import KeyedFrame, Warehouse

CHART_SESSIONS = 60

SHOWN = {
    "last_close": "last close",
    "median": f"median of session {HORIZON}, % of close",
    "width": f"80 % interval of session {HORIZON}, % of close",
}
"""The numbers that are plotted, and what they are called."""

_ABOUT = """
Each row is a range of what may happen, **not advice**: `close_p10` to `close_p90` should hold 80 % of the outcomes, and
`naive_close` stands beside it. `method` names what made it: the month's LSTM if it earned it, else a baseline under its
own name. Where another model served than the month's, `fallback` says why. The scores are in `forecast_accuracy`.
"""


def _by_one_model_each(
    served: Mapping[str, tuple[Serving, list[pd.Timestamp]]],
    bars: Mapping[str, pd.DataFrame],
    around: Surroundings | None,
) -> pd.DataFrame:
    """Forecasts of tickers whose days all have one model, with its version and why it serves."""
    models = {ticker: serving.forecaster for ticker, (serving, _) in served.items()}
    made = forecast(models, bars, {ticker: days for ticker, (_, days) in served.items()}, around)
    version_of = {ticker: serving.version for ticker, (serving, _) in served.items()}
    fallback_of = {ticker: serving.fallback for ticker, (serving, _) in served.items()}
    return made.assign(model_version=made["ticker"].map(version_of), fallback=made["ticker"].map(fallback_of))


def _show(
    context: dg.AssetExecutionContext,
    bars: Mapping[str, pd.DataFrame],
    forecasts: pd.DataFrame,
    registry: ModelRegistry,
    dashboard: str,
) -> None:
    """Show the last session of each key's forecast, what made it, and why no other did: that in the log, too."""
    for words in forecasts["fallback"].dropna().unique():
        context.log.warning(words)
    ends = forecasts[forecasts["horizon"] == HORIZON]
    close = ends["last_close"]

    def said(row: Any) -> dict[str, Any]:
        version = {
            "model version": dg.MetadataValue.url(registry.version_link(model_name(row.ticker), row.model_version))
        }
        return {
            **({"fallback": row.fallback} if pd.notna(row.fallback) else {}),
            "made by": row.method,
            "dashboard": forecast_page(dashboard, row.ticker, row.date),
            # A baseline that was fitted on the spot has no version.
            **(version if row.model_version.isdecimal() else {}),
        }

    def chart(ticker: str, day: pd.Timestamp) -> dg.MetadataValue:
        rows = forecasts[(forecasts["ticker"] == ticker) & (forecasts["date"] == day)]
        history = bars[ticker][bars[ticker]["date"] <= day].tail(CHART_SESSIONS)
        return picture(forecast_png(history, rows), f"Forecast of {ticker} as of {day:%Y-%m-%d}")

    ends = ends.assign(
        median=(ends["close_p50"] / close - 1) * 100, width=(ends["close_p90"] - ends["close_p10"]) / close * 100
    )
    show_days(context, ends, SHOWN, said, chart)


def build_forecasts(
    daily: dg.MultiPartitionsDefinition, first_daily_key: date, max_age_days: int, dashboard: str
) -> dg.AssetsDefinition:
    """Forecasts as of the end of each session, by the model that `tracking.serving.ModelServer` finds for it."""

    @table_asset(
        FORECASTS,
        "forecasting",
        daily,
        "numpy",
        "mlflow",
        about=_ABOUT,
        links={"dashboard": f"{dashboard}/forecasts"},
        # Read through the warehouse, because an earlier month's champion may have to serve.
        deps=[
            dg.AssetDep(TRAINED_MODEL.name, partition_mapping=same_ticker(dg.TimeWindowPartitionMapping())),
            RAW_PRICES.name,
            INDICATORS.name,
            dg.AssetDep(PRICE_HISTORY.name, partition_mapping=of_ticker()),
            dg.AssetDep(EARNINGS_DATES.name, partition_mapping=of_ticker()),
            MARKET_DAYS,
            dg.AssetDep(MARKET_STATE.name, partition_mapping=of_period()),
        ],
    )
    @timed
    def forecasts(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        sources: dg.ResourceParam[Sources],
        registry: dg.ResourceParam[ModelRegistry],
        ledger_heads: dg.ResourceParam[HeadStore],
    ) -> KeyedFrame:
        days = days_by_ticker(context.partition_keys)
        last = max(asked[-1] for asked in days.values())
        bars = complete_bars(warehouse, context.instance, list(days), last, first_daily_key, sources)
        traded, reasons = open_days(days, bars)
        rows = rows_by_ticker(stored_models(warehouse, list(traded), last))
        served = {
            ticker: ModelServer(ticker, rows.get(ticker, []), bars[ticker], registry, max_age_days).by_model(asked)
            for ticker, asked in traded.items()
        }
        models = [serving.forecaster for groups in served.values() for serving, _ in groups]
        around = surroundings_of(models, warehouse, last)
        made = [_by_one_model_each(part, bars, around) for part in rounds(served)]
        if not made:
            return keyed(context, pd.DataFrame(columns=FORECASTS.column_names), reasons)
        frame = with_target_dates(pd.concat(made, ignore_index=True))
        frame = frame.sort_values(["ticker", "date", "horizon"], ignore_index=True)[FORECASTS.column_names]
        _show(context, bars, frame, registry, dashboard)
        return published(context, warehouse, ledger_heads, keyed(context, frame, reasons), served, bars)

    return forecasts
