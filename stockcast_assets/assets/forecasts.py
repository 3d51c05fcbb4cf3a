"""`forecasts`: the next 10 sessions of each ticker, as quantiles of the close."""

import base64
from collections import defaultdict
from datetime import date

import dagster as dg
import pandas as pd

from stockcast_assets.assets.bars import closed_or_unlisted, complete_bars
from stockcast_assets.assets.keys import SINGLE_RUN, days_by_ticker, keyed, kinds, of_ticker, same_ticker
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.predict import forecast
from stockcast_assets.forecasting.registry import ModelRegistry
from stockcast_assets.market import calendars
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.monitoring.charts import forecast_png
from stockcast_assets.partitions import month_of, partition_key
from stockcast_assets.tables import FORECASTS, INDICATORS, PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL
from stockcast_assets.warehouse import KeyedFrame, Warehouse, asset_metadata

# A chart is 45 KB of the event log and 0.1 s of drawing; the dashboard has the others.
MOST_CHARTS = 20
CHART_SESSIONS = 60


def month_models(
    trained_model: pd.DataFrame, days: dict[str, list[pd.Timestamp]]
) -> dict[pd.Timestamp, dict[str, list[pd.Timestamp]]]:
    """Group the days asked for by their month of use: {month: {ticker: days}}.

    Raises:
        StockcastError: if a (ticker, month) has no row in `trained_model`.
    """
    available = set(zip(trained_model["ticker"], trained_model["date"], strict=True))
    by_month: dict[pd.Timestamp, dict[str, list[pd.Timestamp]]] = defaultdict(dict)
    for ticker, asked in days.items():
        for day in asked:
            month = pd.Timestamp(month_of(day))
            if (ticker, month) not in available:
                raise StockcastError(
                    f"There is no model of {ticker} for {month:%Y-%m}: materialise trained_model for that month first "
                    f"(`stockcast forecast {ticker} {day.date()}` does)."
                )
            by_month[month].setdefault(ticker, []).append(day)
    return dict(by_month)


def with_target_dates(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Add the session each horizon is for, from the ticker's own calendar."""
    targets = {
        (ticker, day): calendars.next_sessions(calendars.calendar_for(ticker), day, HORIZON)
        for ticker, day in forecasts[["ticker", "date"]].drop_duplicates().itertuples(index=False)
    }
    rows = forecasts[["ticker", "date", "horizon"]].itertuples(index=False)
    return forecasts.assign(target_date=[targets[ticker, day][horizon - 1] for ticker, day, horizon in rows])


def _show_charts(context: dg.AssetExecutionContext, bars: dict[str, pd.DataFrame], forecasts: pd.DataFrame) -> None:
    """Put the chart of each ticker's newest day on that key's materialisation."""
    for ticker in list(dict.fromkeys(forecasts["ticker"]))[:MOST_CHARTS]:
        rows = forecasts[forecasts["ticker"] == ticker]
        newest = rows[rows["date"] == rows["date"].max()]
        day = newest["date"].iloc[0]
        history = bars[ticker][bars[ticker]["date"] <= day].tail(CHART_SESSIONS)
        image = base64.b64encode(forecast_png(history, newest)).decode()
        context.add_asset_metadata(
            {"chart": dg.MetadataValue.md(f"![{ticker}](data:image/png;base64,{image})")},
            partition_key=partition_key(ticker, day),
        )


def build_forecasts(daily: dg.MultiPartitionsDefinition, first_daily_key: date) -> dg.AssetsDefinition:
    """Forecasts as of the end of each session. A day's model is the model of its month of use."""

    @dg.asset(
        name=FORECASTS.name,
        description=FORECASTS.description,
        group_name="forecasting",
        partitions_def=daily,
        backfill_policy=SINGLE_RUN,
        ins={
            "trained_model": dg.AssetIn(
                TRAINED_MODEL.name, partition_mapping=same_ticker(dg.TimeWindowPartitionMapping())
            )
        },
        deps=[RAW_PRICES.name, INDICATORS.name, dg.AssetDep(PRICE_HISTORY.name, partition_mapping=of_ticker())],
        metadata=asset_metadata(FORECASTS, partition_expr={"ticker": "ticker", "date": "date"}),
        pool=FORECASTS.name,
        **kinds("numpy", "mlflow"),
    )
    def forecasts(
        context: dg.AssetExecutionContext,
        trained_model: pd.DataFrame,
        warehouse: dg.ResourceParam[Warehouse],
        sources: dg.ResourceParam[Sources],
        registry: dg.ResourceParam[ModelRegistry],
    ) -> KeyedFrame:
        days = days_by_ticker(context.partition_keys)
        last = max(asked[-1] for asked in days.values())
        bars = complete_bars(warehouse, context.instance, list(days), last, first_daily_key, sources)
        reasons: dict[tuple[str, pd.Timestamp], str] = {}
        for ticker, asked in days.items():
            first_bar = bars[ticker]["date"].iloc[0] if len(bars[ticker]) else sources.get(None).first_session(ticker)
            reasons |= closed_or_unlisted(ticker, asked, first_bar)
        open_days = {
            ticker: kept
            for ticker, asked in days.items()
            if (kept := [day for day in asked if (ticker, day) not in reasons])
        }
        row_of = {(row["ticker"], row["date"]): row for row in trained_model.to_dict("records")}
        made = []
        for month, month_days in month_models(trained_model, open_days).items():
            versions = {ticker: row_of[ticker, month] for ticker in month_days}
            models = {
                ticker: registry.load(row["model_name"], row["run_id"], row["weights_sha256"])
                for ticker, row in versions.items()
            }
            part = forecast(models, {ticker: bars[ticker] for ticker in month_days}, month_days)
            version_of = {ticker: row["model_version"] for ticker, row in versions.items()}
            made.append(part.assign(model_version=part["ticker"].map(version_of)))
        if not made:
            return keyed(context, pd.DataFrame(columns=FORECASTS.column_names), reasons)
        frame = with_target_dates(pd.concat(made, ignore_index=True))
        frame = frame.sort_values(["ticker", "date", "horizon"], ignore_index=True)[FORECASTS.column_names]
        _show_charts(context, bars, frame)
        return keyed(context, frame, reasons)

    return forecasts
