"""The state of each ticker: active, paused or delisted, and since when its days are forecast.

Kept in the Dagster instance, beside the ticker partitions themselves (`ticker_space`): commands, sensors and dashboard
read it without opening the warehouse, and it changes with no run. A person writes the state and the sensor
`ticker_lifecycle` writes the first daily day, as records of their own, so that neither overwrites the other. The
sensor's record counts only for the state it was made for; both end when the ticker is removed, however that is done.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Literal, get_args

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.keys import key_day, validate_ticker
from stockcast_assets.orchestration import ticker_space
from stockcast_assets.orchestration.fence import understood
from stockcast_assets.orchestration.ticker_space import COMPANY, DAILY, GONE, SEEN, STATE, Record, TickerSpace, places
from stockcast_assets.tables import PRICE_HISTORY

State = Literal["active", "paused", "delisted"]

_DATED = (SEEN, GONE, STATE)
"""Kinds of records that say since when they hold."""


@dataclass(frozen=True)
class TickerState:
    """What is to become of a ticker.

    Attributes:
        state: only active tickers get runs.
        reason: why it is paused or delisted, in words; empty for an active one.
        since: when a person set the state, ISO 8601 in UTC; empty if nobody ever did.
        daily_from: the session it was brought up to, after which every day is forecast; None while it is new.
        uploaded: whether its bars come by CSV, so that it has no day after its newest uploaded bar.
        again: when it was seen again after it had been removed; empty if it never was.
        company: what its source calls the company; empty if no source has said so yet.
    """

    state: State = "active"
    reason: str = ""
    since: str = ""
    daily_from: date | None = None
    uploaded: bool = False
    again: str = ""
    company: str = ""

    @property
    def began(self) -> str:
        """Since when runs count for it; empty: always."""
        return self.since or self.again

    @property
    def is_new(self) -> bool:
        return self.state == "active" and self.daily_from is None

    def __str__(self) -> str:
        return "new" if self.is_new else self.state


def ticker_states(instance: dg.DagsterInstance, tickers: Iterable[str]) -> dict[str, TickerState]:
    """The state of each of the tickers, in one query."""
    states = states_in(ticker_space.read(instance))
    return {ticker: states.get(ticker) or TickerState() for ticker in tickers}


def states_in(space: TickerSpace) -> dict[str, TickerState]:
    """The state of every ticker, in insertion order."""
    again = space.added_again()
    return {ticker: _state(ticker, values, ticker in again) for ticker, values in space.values().items()}


def states_known(space: TickerSpace, before: datetime) -> dict[str, TickerState]:
    """The state of every ticker that was there just before a moment, as it was recorded; without its daily day.

    A ticker is known from when it was first seen until it was seen no more.
    """
    found: dict[str, tuple[int, TickerState]] = {}
    for record, at in space.records:
        moment = understood(_since, record.value, f"A record of {record.ticker}") if record.kind in _DATED else None
        if not moment or datetime.fromisoformat(moment) >= before:
            continue
        if record.kind == GONE:
            found.pop(record.ticker, None)
        elif record.kind == SEEN:
            # A state that was set before the ticker was added again is not its own any more.
            since = next(iter(places([record]).get(record.ticker, ())), 0)
            if found.get(record.ticker, (-1, None))[0] < since:
                found[record.ticker] = at, TickerState()
        elif (state := understood(_by_hand, record.value, f"The state of {record.ticker}")) is not None:
            found[record.ticker] = at, state
    return {ticker: state for ticker, (_, state) in found.items()}


def _state(ticker: str, recorded: Mapping[str, Any], again: bool = False) -> TickerState:
    lost = TickerState("paused", f"what is stored of it cannot be read; `stockcast tickers resume {ticker}` renews it")
    if understood(validate_ticker, ticker, "A ticker partition") is None:
        return TickerState("paused", "it is no ticker; delete the partition in the Dagster UI")
    state = TickerState()
    if STATE in recorded:
        state = understood(_by_hand, recorded[STATE], f"The state of {ticker}") or lost
    if isinstance(company := recorded.get(COMPANY), str):
        state = replace(state, company=company)
    if again:
        state = replace(state, again=understood(_since, recorded.get(SEEN), f"The return of {ticker}") or "")
    # Without its day a ticker is new: it is brought up again, which fetches only what is missing.
    brought_up = understood(_brought_up, recorded.get(DAILY), f"The bring-up of {ticker}")
    if brought_up is None or brought_up[0] != state.since:
        return state
    return replace(state, daily_from=brought_up[1], uploaded=brought_up[2])


def _by_hand(entry: Any) -> TickerState:
    if entry["state"] not in get_args(State) or not isinstance(entry["reason"], str):
        raise ValueError(entry["state"])
    return TickerState(entry["state"], entry["reason"], _since(entry))


def _since(entry: Any) -> str:
    since: str = entry["since"]
    if since and datetime.fromisoformat(since).tzinfo is None:
        raise ValueError("since has no time zone")
    return since


def _brought_up(entry: Any) -> tuple[str, date, bool]:
    return entry["since"], key_day(entry["from"]), bool(entry["uploaded"])


def set_state(instance: dg.DagsterInstance, ticker: str, state: State, reason: str = "") -> None:
    """Put a ticker into a state, and tell its page in the Dagster UI. An active ticker is brought up again."""
    entry = {"state": state, "reason": reason, "since": utc_now().isoformat()}
    ticker_space.put(instance, [Record(STATE, ticker, entry)])
    words = f"{ticker} is {state}" + (f": {reason}" if reason else "")
    instance.report_runless_asset_event(dg.AssetObservation(PRICE_HISTORY.name, partition=ticker, description=words))


def set_daily_from(instance: dg.DagsterInstance, ticker: str, since: str, day: date, uploaded: bool) -> None:
    """Record that a ticker was brought up to `day`, in the state that was set at `since`."""
    entry = {"from": day.isoformat(), "since": since, "uploaded": uploaded}
    ticker_space.put(instance, [Record(DAILY, ticker, entry)])
