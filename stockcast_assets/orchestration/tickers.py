"""The state of each ticker: active, paused or delisted, and since when its days are forecast.

Kept in the Dagster instance, beside the ticker partitions themselves: one row per ticker in its key-value store.
So commands, sensors and dashboard read it without opening the warehouse, and it changes with no run.
A person writes the state and the sensor `ticker_lifecycle` writes the first daily day, each under a key of its own,
so that neither overwrites the other. The sensor's entry counts only for the state it was made for.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal, get_args

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.keys import key_day, validate_ticker
from stockcast_assets.orchestration.fence import understood
from stockcast_assets.tables import PRICE_HISTORY

State = Literal["active", "paused", "delisted"]

_STATE, _DAILY = "stockcast/ticker/state/", "stockcast/ticker/daily/"


@dataclass(frozen=True)
class TickerState:
    """What is to become of a ticker.

    Attributes:
        state: only active tickers get runs.
        reason: why it is paused or delisted, in words; empty for an active one.
        since: when a person set the state, ISO 8601 in UTC; empty if nobody ever did.
        daily_from: the session it was brought up to, after which every day is forecast; None while it is new.
        uploaded: whether its bars come by CSV, so that it has no day after its newest uploaded bar.
    """

    state: State = "active"
    reason: str = ""
    since: str = ""
    daily_from: date | None = None
    uploaded: bool = False

    @property
    def is_new(self) -> bool:
        return self.state == "active" and self.daily_from is None

    def __str__(self) -> str:
        return "new" if self.is_new else self.state


def ticker_states(instance: dg.DagsterInstance, tickers: Iterable[str]) -> dict[str, TickerState]:
    """The state of each of the tickers, in one query."""
    wanted = list(tickers)
    keys = {prefix + ticker for ticker in wanted for prefix in (_STATE, _DAILY)}
    stored = instance.daemon_cursor_storage.get_cursor_values(keys) if keys else {}
    return {ticker: _state(stored, ticker) for ticker in wanted}


def _state(stored: Mapping[str, str], ticker: str) -> TickerState:
    lost = TickerState("paused", f"what is stored of it cannot be read; `stockcast tickers resume {ticker}` renews it")
    if understood(validate_ticker, ticker, "A ticker partition") is None:
        return TickerState("paused", "it is no ticker; delete the partition in the Dagster UI")
    by_hand, daily = stored.get(_STATE + ticker), stored.get(_DAILY + ticker)
    state = TickerState() if by_hand is None else understood(_by_hand, by_hand, f"The state of {ticker}") or lost
    # Without its day a ticker is new: it is brought up again, which fetches only what is missing.
    brought_up = understood(_brought_up, daily, f"The bring-up of {ticker}")
    if brought_up is None or brought_up[0] != state.since:
        return state
    return replace(state, daily_from=brought_up[1], uploaded=brought_up[2])


def _by_hand(text: str) -> TickerState:
    entry = json.loads(text)
    if entry["state"] not in get_args(State) or not isinstance(entry["reason"], str):
        raise ValueError(entry["state"])
    if entry["since"] and datetime.fromisoformat(entry["since"]).tzinfo is None:
        raise ValueError("since has no time zone")
    return TickerState(entry["state"], entry["reason"], entry["since"])


def _brought_up(text: str) -> tuple[str, date, bool]:
    entry = json.loads(text)
    return entry["since"], key_day(entry["from"]), bool(entry["uploaded"])


def set_state(instance: dg.DagsterInstance, ticker: str, state: State, reason: str = "") -> None:
    """Put a ticker into a state, and tell its page in the Dagster UI. An active ticker is brought up again."""
    entry = {"state": state, "reason": reason, "since": utc_now().isoformat()}
    instance.daemon_cursor_storage.set_cursor_values({_STATE + ticker: json.dumps(entry)})
    words = f"{ticker} is {state}" + (f": {reason}" if reason else "")
    instance.report_runless_asset_event(dg.AssetObservation(PRICE_HISTORY.name, partition=ticker, description=words))


def set_daily_from(instance: dg.DagsterInstance, ticker: str, since: str, day: date, uploaded: bool) -> None:
    """Record that a ticker was brought up to `day`, in the state that was set at `since`."""
    entry = {"from": day.isoformat(), "since": since, "uploaded": uploaded}
    instance.daemon_cursor_storage.set_cursor_values({_DAILY + ticker: json.dumps(entry)})
