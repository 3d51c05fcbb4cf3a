"""`universe_model`: the networks of a month of use, one file for all tickers, with what they are good for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any

import dagster as dg

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import ModelConfig
from stockcast_assets.forecasting.features import Needed, prepare_many
from stockcast_assets.forecasting.npz import ModelFileError
from stockcast_assets.forecasting.universe.inputs import Series
from stockcast_assets.forecasting.universe.month import FEWEST, MonthModel, Vintage, fit_month, teachers
from stockcast_assets.forecasting.universe.proof import judge_pooled
from stockcast_assets.inputs import shortlist
from stockcast_assets.libraries import pd
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.orchestration.assets.bars import stored_networks, surroundings, whole_bars
from stockcast_assets.orchestration.assets.metadata import number, show, timed
from stockcast_assets.orchestration.assets.specs import of_all, table_asset
from stockcast_assets.orchestration.graph import MARKET_DAYS
from stockcast_assets.orchestration.partitions import ticker_partitions
from stockcast_assets.tables import EARNINGS_DATES, MARKET_STATE, PRICE_HISTORY, RAW_PRICES, UNIVERSE_MODEL
from stockcast_assets.tracking.parent_runs import ParentRun, end_parent
from stockcast_assets.tracking.registry import ModelRegistry
from stockcast_assets.tracking.serving import model_of
from stockcast_assets.tracking.universe import publish_month
from stockcast_assets.warehouse import KeyedFrame, Warehouse

_ABOUT = """
Four small LSTMs learn from all tickers together how far the next 10 returns spread, from bars, the market of the day
and earnings reports; their mean is the month's network. **A month is trained once, before the tickers' models of it**:
its members are recorded, a ticker that is added later changes no stored month and is forecast by it without training.
Fits as of the last Januaries are its proof: pooled here, and for each ticker in `trained_model`, which names the file
by its digest. With fewer than two tickers of a long enough past a month has no row, and each ticker a network of its
own.
"""


def _series(
    context: dg.AssetExecutionContext,
    month: date,
    tickers: Sequence[str],
    first_daily_key: date,
    warehouse: Warehouse,
    sources: Sources,
) -> tuple[dict[str, Series], dict[str, str]]:
    """What is known of the tickers before the month, and why some are left out."""
    until = month - timedelta(days=1)
    bars, left_out = whole_bars(warehouse, context.instance, tickers, until, first_daily_key, sources)
    if not bars:
        return {}, left_out
    around = surroundings(warehouse, list(bars), until)
    histories = prepare_many([Needed(of, 0, len(of)) for of in bars.values()])
    return {one.ticker: around.series(one, bars[one.ticker]) for one in histories}, left_out


def _earlier(month: date, rows: Mapping[pd.Timestamp, Mapping[Any, Any]], registry: ModelRegistry) -> Sequence[Vintage]:
    """The fits of the nearest months before and after that have a file, and of the month itself."""
    at = pd.Timestamp(month)
    before = max((other for other in rows if other < at), default=None)
    after = min((other for other in rows if other > at), default=None)
    found: list[Vintage] = []
    for other in (at if at in rows else None, before, after):
        if other is not None:
            try:
                found += registry.universe(model_of(rows[other])).vintages
            except ModelFileError:
                continue
    return found


def _row(
    month: date, model: MonthModel, series: Mapping[str, Series], registry: ModelRegistry, mlflow: ParentRun
) -> dict[str, Any]:
    """The month's row, with the networks published."""
    proof, newest = judge_pooled(series, model), model.newest
    version = publish_month(registry, month, model, parent=mlflow.begin)
    return {
        "date": pd.Timestamp(month),
        "model_name": version.model_name,
        "model_version": version.model_version,
        "run_id": version.run_id,
        "weights_sha256": version.sha256,
        "trained_to": max(series[ticker].history.dates[-1] for ticker in newest.members),
        "n_samples": newest.n_samples,
        "n_members": len(newest.members),
        "members": " ".join(newest.members),
        "origins": " ".join(str(vintage.origin) for vintage in model.vintages),
        **proof.summary(),
    }


def _tell(context: dg.AssetExecutionContext, key: str, done: int, total: int) -> None:
    context.log.info(f"{key}: network {done} of {total} is trained.")


def _shown(row: Mapping[str, Any], left_out: Mapping[str, str], registry: ModelRegistry) -> dict[str, Any]:
    proof = {name: row[name] for name in row if name.startswith(("pinball", "coverage"))}
    return {
        "promoted": row["promoted"],
        "reason": row["reason"],
        "members": row["n_members"],
        **({"left out": shortlist([f"{ticker}: {why}" for ticker, why in left_out.items()], 3)} if left_out else {}),
        "MLflow run": dg.MetadataValue.url(registry.run_link(row["run_id"])),
        "model version": dg.MetadataValue.url(registry.version_link(row["model_name"], row["model_version"])),
        "knows until": f"{row['trained_to']:%Y-%m-%d}",
        "training samples": row["n_samples"],
        **{name.replace("_", " "): number(value) for name, value in proof.items() if value == value},
    }


def build_universe_model(
    months: dg.MonthlyPartitionsDefinition, first_daily_key: date, workers: int
) -> dg.AssetsDefinition:
    """The networks of each month of use, of all tickers that are known before it."""

    @table_asset(
        UNIVERSE_MODEL,
        "forecasting",
        months,
        "tensorflow",
        "mlflow",
        about=_ABOUT,
        hooks=frozenset({end_parent}),
        deps=[
            of_all(RAW_PRICES.name),
            of_all(PRICE_HISTORY.name),
            of_all(EARNINGS_DATES.name),
            of_all(MARKET_STATE.name),
            MARKET_DAYS,
        ],
    )
    @timed
    def universe_model(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        sources: dg.ResourceParam[Sources],
        registry: dg.ResourceParam[ModelRegistry],
        mlflow: dg.ResourceParam[ParentRun],
    ) -> KeyedFrame:
        everyone = context.instance.get_dynamic_partitions(str(ticker_partitions.name))
        stored, rows, empty = stored_networks(warehouse), [], {}
        for key in sorted(context.partition_keys):
            month = date.fromisoformat(key)
            before = stored.get(pd.Timestamp(month))
            # Who joined since changes no stored month.
            tickers = everyone if before is None else before["members"].split()
            series, left_out = _series(context, month, tickers, first_daily_key, warehouse, sources)
            if before is None and len(teachers(series, month, ModelConfig())) < FEWEST:
                empty[key] = f"fewer than {FEWEST} tickers have a past that is long enough"
                show(context, {key: {"no rows": empty[key], **({"left out": str(left_out)} if left_out else {})}})
                continue
            if before is not None and left_out:
                raise StockcastError(
                    f"universe_model of {month:%Y-%m} was trained on {shortlist(list(left_out))}, which now lack bars: "
                    f"{next(iter(left_out.values()))}"
                )
            model = fit_month(
                series,
                month,
                earlier=_earlier(month, stored, registry),
                workers=workers,
                progress=partial(_tell, context, key),
            )
            row = _row(month, model, series, registry, mlflow)
            rows.append(row)
            stored[row["date"]] = row
            show(context, {key: _shown(row, left_out, registry)})
        return KeyedFrame(pd.DataFrame(rows, columns=UNIVERSE_MODEL.column_names), empty)

    return universe_model
