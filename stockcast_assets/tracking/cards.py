"""The model card of a past day.

A row of `trained_model` is replaced when its month is trained again. MLflow keeps every model with the moment at which
it was registered, and beside it the card that was written then.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.card import Read, card_of, chosen_model, live_scores, with_live_scores
from stockcast_assets.libraries import pd
from stockcast_assets.market.known import day_ends_at
from stockcast_assets.tables import TRAINED_MODEL
from stockcast_assets.tracking.client import sqlite_database
from stockcast_assets.tracking.registry import ModelRegistry

COLUMNS = ("ticker", "date", "model_version", "run_id", "trained_to")


def models_known(registry: ModelRegistry, ticker: str, day: date) -> pd.DataFrame:
    """The models of a ticker at the end of a day, as `trained_model` had them: a month's first model takes the place of
    the one before, a further one that of the one with the same knowledge.

    Args:
        registry: where they were registered.
        ticker: whose.
        day: the day, UTC.

    Returns:
        COLUMNS of the table, by month of use and then by knowledge.

    Raises:
        StockcastError: if MLflow does not answer.
    """
    home = sqlite_database(registry.tracking_uri)
    before = day_ends_at(day).timestamp() * 1000
    # Without a model the home has no file of MLflow, which would make one.
    versions = [] if home is not None and not home.path.exists() else registry.versions(ticker)
    held = {}
    for one in sorted((each for each in versions if each.registered_at < before), key=lambda each: int(each.number)):
        month = pd.Timestamp(one.month)
        trained_to = pd.Timestamp(one.trained_to or month - pd.Timedelta(days=1))
        held[month, None if trained_to < month else trained_to] = (ticker, month, one.number, one.run_id, trained_to)
    return pd.DataFrame(list(held.values()), columns=list(COLUMNS)).sort_values(["date", "trained_to"])


def card_known(
    registry: ModelRegistry, read: Read, ticker: str, month: date | None, day: date
) -> tuple[Mapping[Any, Any], str]:
    """The card of a ticker's model as it was known at the end of a day.

    Args:
        registry: where the models are.
        read: reads the tables of that day's world.
        ticker: whose.
        month: first day of the month of use; None for the newest.
        day: the day, UTC.

    Returns:
        `ticker`, `date`, `model_version`, `run_id`, `trained_to`, `promoted` and `method` of the model, and its card:
        what was written when it was made, with the live scores up to the day.

    Raises:
        StockcastError: if there was no such model, nothing is kept of it, or MLflow does not answer.
    """
    known = models_known(registry, ticker, day)
    if known.empty:
        raise StockcastError(
            f"No model of {ticker} had been registered in MLflow by the end of {day}: `stockcast card {ticker}` shows "
            "the newest there is now."
        )
    model = chosen_model(known, ticker, month)
    run = registry.run_tags(model["run_id"])
    model |= {"promoted": run["stockcast.champion"] == "true", "method": run["stockcast.method"]}
    written = registry.card(model["run_id"])
    if written is not None:
        return model, with_live_scores(written, pd.Timestamp(model["date"]), live_scores(read, model))
    # An earlier release wrote none: what the row says is the same model's, if it is there still.
    rows = read(TRAINED_MODEL, tickers=[ticker]).to_dict("records")
    own = next((row for row in rows if row["run_id"] == model["run_id"]), None)
    if own is None:
        of_month = f"{model['date']:%Y-%m}"
        raise StockcastError(
            f"The model of {ticker} for {of_month} that was known at the end of {day} has no card in MLflow "
            f"(run {model['run_id']}), and its month was trained again since: `stockcast card {ticker} {of_month}` "
            "shows the model of now."
        )
    return model, card_of(read, own)
