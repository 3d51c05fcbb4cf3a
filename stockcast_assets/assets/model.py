"""`trained_model`: one model per ticker and month of use, with the proof that it may or may not be used."""

from datetime import date

import dagster as dg
import pandas as pd

from stockcast_assets.assets.bars import complete_bars
from stockcast_assets.assets.keys import SINGLE_RUN, days_by_ticker, kinds, of_ticker, same_ticker
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.config import ModelConfig
from stockcast_assets.forecasting.registry import ModelRegistry
from stockcast_assets.forecasting.training import train_many
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.tables import PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL
from stockcast_assets.warehouse import KeyedFrame, Warehouse, asset_metadata

# The months of daily bars that Dagster shows as upstream of a model. The training reads every bar before the
# month; twelve months of lineage are enough to see staleness and keep the graph cheap to compute.
LINEAGE_MONTHS = 12


class TrainingConfig(dg.Config):
    """Hyper-parameters of the LSTM. The defaults are those of `ModelConfig`; tuning feeds better ones here."""

    units: int = ModelConfig.units
    dropout: float = ModelConfig.dropout
    window: int = ModelConfig.window
    learning_rate: float = ModelConfig.learning_rate
    batch_size: int = ModelConfig.batch_size
    epochs: int = ModelConfig.epochs
    patience: int = ModelConfig.patience
    seed: int = ModelConfig.seed

    def model_config_(self) -> ModelConfig:
        return ModelConfig(**self.model_dump())


def _row(ticker: str, month: pd.Timestamp, trained: TrainedModel, registry: ModelRegistry) -> dict[str, object]:
    version = registry.publish(ticker, month.date(), trained)
    return {
        "ticker": ticker,
        "date": month,
        "model_name": version.model_name,
        "model_version": version.model_version,
        "run_id": version.run_id,
        "weights_sha256": version.sha256,
        "trained_from": pd.Timestamp(trained.trained_from),
        "trained_to": pd.Timestamp(trained.trained_to),
        "n_samples": trained.n_samples,
        **trained.summary(),
        "promoted": trained.decision.promoted,
        "method": trained.decision.method,
        "reason": trained.decision.reason,
    }


def build_trained_model(
    monthly: dg.MultiPartitionsDefinition, first_daily_key: date, workers: int
) -> dg.AssetsDefinition:
    """The month's model. It knows nothing of its month of use: training ends with the month before."""
    before_the_month = dg.TimeWindowPartitionMapping(
        start_offset=-LINEAGE_MONTHS, end_offset=-1, allow_nonexistent_upstream_partitions=True
    )

    @dg.asset(
        name=TRAINED_MODEL.name,
        description=TRAINED_MODEL.description,
        group_name="forecasting",
        partitions_def=monthly,
        backfill_policy=SINGLE_RUN,
        deps=[
            dg.AssetDep(RAW_PRICES.name, partition_mapping=same_ticker(before_the_month)),
            dg.AssetDep(PRICE_HISTORY.name, partition_mapping=of_ticker()),
        ],
        metadata=asset_metadata(TRAINED_MODEL, partition_expr={"ticker": "ticker", "date": "date"}),
        pool=TRAINED_MODEL.name,
        **kinds("tensorflow", "mlflow"),
    )
    def trained_model(
        context: dg.AssetExecutionContext,
        config: TrainingConfig,
        warehouse: dg.ResourceParam[Warehouse],
        sources: dg.ResourceParam[Sources],
        registry: dg.ResourceParam[ModelRegistry],
    ) -> KeyedFrame:
        months_by_ticker = days_by_ticker(context.partition_keys)
        jobs: dict[tuple[str, pd.Timestamp], pd.DataFrame] = {}
        for month in sorted({month for months in months_by_ticker.values() for month in months}):
            tickers = [ticker for ticker, months in months_by_ticker.items() if month in months]
            known = complete_bars(
                warehouse, context.instance, tickers, month - pd.Timedelta(days=1), first_daily_key, sources
            )
            for ticker in tickers:
                if known[ticker].empty:
                    raise StockcastError(
                        f"{ticker} has no bar before {month.date()}, so there is nothing to learn a model of "
                        f"{month:%Y-%m} from: ask for a later month, or ingest a longer history."
                    )
                jobs[ticker, month] = known[ticker]
        trained = train_many(
            jobs,
            config.model_config_(),
            workers=workers,
            progress=lambda job, done, total: context.log.info(f"{job[0]} {job[1]:%Y-%m}: trained, {done} of {total}"),
        )
        rows = [_row(ticker, month, trained[ticker, month], registry) for ticker, month in jobs]
        return KeyedFrame(pd.DataFrame(rows, columns=TRAINED_MODEL.column_names), {})

    return trained_model
