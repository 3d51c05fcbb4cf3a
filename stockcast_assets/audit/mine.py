"""A function or class of the user's own, named as `module:function` or `file.py:function`, called on worlds."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from stockcast_assets import user_code
from stockcast_assets.audit.compare import FAILS, Moved, moved, require_same_twice
from stockcast_assets.audit.worlds import INPUTS, RESTATED, World, attacks, halted
from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import shortlist, shown
from stockcast_assets.libraries import np, pd
from stockcast_assets.user_code import told

_ALIASES = {
    "prices": "bars",
    "data": "bars",
    "df": "bars",
    "frame": "bars",
    "reports": "earnings",
    "earnings_dates": "earnings",
    "price_revisions": "revisions",
    "calendar": "sessions",
    "calendars": "sessions",
}


@dataclass(frozen=True)
class Mine:
    """A subject of the user's.

    Attributes:
        name: how it was named.
        function: takes inputs by name.
        inputs: which, of INPUTS, by the names of its parameters.
    """

    name: str
    function: Callable[..., Any]
    inputs: dict[str, str]

    def output(self, world: World) -> pd.DataFrame:
        """What it makes of a world: `date`, perhaps `ticker`, and its columns.

        Raises:
            StockcastError: if what it returns has no days.
        """
        # Each call has frames of its own: what a function writes into its arguments is not the next one's.
        given = {parameter: getattr(world, name).copy() for parameter, name in self.inputs.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = self.function(**given)
        return dated(result, world.bars, self.name)


def load(name: str) -> Mine:
    """The subject that `module:function` or `path/to/file.py:function` names.

    A function is called with the inputs that its parameters name: `bars`, `earnings`, `revisions`, `sessions`; one of
    a single parameter gets the bars, whatever that is called. A class is made without arguments, fitted with
    `fit(bars)` on the first FITTED of the days, if it can be, and asked by `predict(bars)` for the days after those.

    Raises:
        StockcastError: if there is no such module or function, or a parameter is none of these.
    """
    found = user_code.load(name)
    if inspect.isclass(found):
        return Mine(name, _model(name, found), {"bars": "bars"})
    if not callable(found):
        raise StockcastError(
            f"{shown(name)} is no function: name one that takes bars and returns what it made of them."
        )
    return Mine(name, found, _inputs(name, found))


def _inputs(name: str, function: Callable[..., Any]) -> dict[str, str]:
    required: list[str] = []
    optional: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        (required if parameter.default is parameter.empty else optional).append(parameter.name)
    known = {each: _ALIASES.get(each, each) for each in [*required, *optional] if _ALIASES.get(each, each) in INPUTS}
    strange = [each for each in required if each not in known]
    if len(required) == 1 and strange:
        return {required[0]: "bars", **known}
    if strange or not known:
        said = f"asks for {shortlist(strange)}" if strange else "asks for nothing"
        raise StockcastError(f"{shown(name)} {said}: its parameters may be {', '.join(INPUTS)}.")
    return known


FITTED = 0.3
"""Part of the days that a class is fitted on."""


def _model(name: str, made: Callable[[], Any]) -> Callable[..., Any]:
    if not hasattr(made, "predict"):
        raise StockcastError(f"{shown(name)} has no method `predict`: give it one that takes bars.")
    last: list[pd.Timestamp] = []

    def fitted_and_asked(bars: pd.DataFrame) -> Any:
        if not last:
            # The same day in every world: all of them are alike up to it.
            days = np.sort(bars["date"].unique())
            last.append(pd.Timestamp(days[int(FITTED * (len(days) - 1))]))
        model: Any = made()
        if hasattr(model, "fit"):
            model.fit(bars[bars["date"] <= last[0]].copy())
        predicted = dated(model.predict(bars), bars, name)
        return predicted[predicted["date"] > last[0]]

    return fitted_and_asked


def dated(result: Any, bars: pd.DataFrame, name: str) -> pd.DataFrame:
    """A result with its days: a column or index level of dates, or one row for each row of the bars.

    Args:
        result: a frame, series or array; a tuple or dictionary of such, put side by side.
        bars: what it was made from.
        name: of the subject, for the sentence.

    Raises:
        StockcastError: if it is none of these.
    """
    if isinstance(result, dict | tuple | list) and len(result) and all(_tabular(each) for each in _values(result)):
        return _together(result, bars, name)
    if isinstance(result, np.ndarray) and len(result) == len(bars):
        result = pd.DataFrame(result if result.ndim <= 2 else result.reshape(len(result), -1), index=bars.index)
    if isinstance(result, pd.Series):
        result = result.to_frame("value" if result.name is None else str(result.name))
    if not isinstance(result, pd.DataFrame):
        raise StockcastError(
            f"{name} returns {_kind(result)}: return a frame or series with a column or index of dates, or with one "
            "row for each bar."
        )
    frame = result.rename(columns=_plain)
    names = {label.lower(): label for label in frame.columns}
    ticker = _ticker_level(frame, names)
    if "date" in names and not pd.api.types.is_numeric_dtype(frame[names["date"]]):
        frame = frame.rename(columns={names["date"]: "date"}).reset_index(drop=ticker not in frame.index.names)
    elif (level := _date_level(frame.index)) is not None:
        levels = [str(each or f"level_{place}") for place, each in enumerate(frame.index.names)]
        levels[level] = "date"
        frame = _valued(frame).rename_axis(index=levels).reset_index()
    elif len(frame) == len(bars) and (frame.index == bars.index).all():
        frame = _valued(frame).assign(date=bars["date"].to_numpy(), ticker=bars["ticker"].to_numpy())
        ticker = "ticker"
    elif frame.index.isin(bars.index).all() and frame.index.is_unique:
        frame = _valued(frame).assign(date=bars.loc[frame.index, "date"], ticker=bars.loc[frame.index, "ticker"])
        ticker = "ticker"
    else:
        raise StockcastError(
            f"{name} returns rows without a day: give them a column or an index of dates, or keep the bars' index."
        )
    if ticker is not None:
        frame = frame.rename(columns={ticker: "ticker"})
    return frame.assign(date=_days(frame["date"], name))


def _valued(frame: pd.DataFrame) -> pd.DataFrame:
    """With numbers that are named after the days they were made of under another name."""
    return frame.rename(columns={"date": "value"})


def _tabular(value: object) -> bool:
    return isinstance(value, pd.DataFrame | pd.Series | np.ndarray)


def _values(results: Any) -> Sequence[Any]:
    return list(results.values()) if isinstance(results, dict) else list(results)


def _together(results: Any, bars: pd.DataFrame, name: str) -> pd.DataFrame:
    """Several results below each other, the columns of each under its own name."""
    labels = [str(each) for each in (results if isinstance(results, dict) else range(len(results)))]
    parts = []
    for label, each in zip(labels, _values(results), strict=True):
        part = dated(each, bars, name)
        keep = ("date", "ticker", "horizon")
        renamed = part.rename(columns={column: f"{label}.{column}" for column in part if column not in keep})
        parts.append(renamed.assign(feature=label))
    return pd.concat(parts, ignore_index=True)


def _plain(label: object) -> str:
    return ".".join(map(str, label)) if isinstance(label, tuple) else str(label)


def _ticker_level(frame: pd.DataFrame, names: dict[str, str]) -> str | None:
    for wanted in ("ticker", "symbol"):
        if wanted in names:
            return names[wanted]
        if wanted in frame.index.names:
            return wanted
    return None


def _date_level(index: pd.Index) -> int | None:
    for level in range(index.nlevels):
        values = index.get_level_values(level)
        if isinstance(values, pd.DatetimeIndex) or values.inferred_type == "date" or values.name == "date":
            return level
    return None


def _days(values: pd.Series, name: str) -> pd.Series:
    if values.dtype == "datetime64[ns]":
        return values
    try:
        days = pd.to_datetime(values)
    except (TypeError, ValueError):
        raise StockcastError(f"{name} returns a date that is none, {values.iloc[0]!r}: return days.") from None
    return (days.dt.tz_localize(None) if days.dt.tz is not None else days).astype("datetime64[ns]")


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def examine(subject: Mine, world: World, days: Sequence[pd.Timestamp], seed: int = 0) -> Iterator[list[Moved]]:
    """What moves of a subject, cut by cut.

    Args:
        subject: the user's function.
        world: what it is called on.
        days: the cuts, see `worlds.cuts`.
        seed: of what is drawn.

    Raises:
        StockcastError: if it fails on the world as it is, returns no days, or something else each time.
    """
    truth = _true_output(subject, world)
    require_same_twice(truth, _true_output(subject, world), subject.name)
    inputs = set(subject.inputs.values())
    for cut in days:
        found = [
            each
            for attack, other in attacks(world, cut, inputs, seed)
            for each in _against(subject, truth, other, cut, attack)
        ]
        if "bars" in inputs:
            # Not every function bears a hole: one that does not has nothing to show there.
            start = halted(world, cut, seed)
            try:
                base = subject.output(start)
            except Exception:
                base = None
            if base is not None:
                for attack, other in islice(attacks(start, cut, {"bars"}, seed), 2):
                    found += _against(subject, base, other, cut, f"{attack}, a ticker being halted")
        yield found


def _true_output(subject: Mine, world: World) -> pd.DataFrame:
    try:
        return subject.output(world)
    except StockcastError:
        raise
    except Exception as error:
        raise StockcastError(f"{subject.name} fails on the data as it is: {told(error)}: mend it first.") from error


def _against(subject: Mine, truth: pd.DataFrame, other: World, cut: pd.Timestamp, attack: str) -> list[Moved]:
    try:
        output = subject.output(other)
    except Exception as error:
        known = truth[truth["date"] <= cut]
        if known.empty:
            return []
        ticker = str(known["ticker"].iloc[0]) if "ticker" in known else None
        return [Moved(FAILS, known["date"].iloc[0], ticker, cut, attack, "a value", told(error))]
    return moved(truth, output, cut, attack, rounding=attack == RESTATED)
