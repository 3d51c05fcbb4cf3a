"""What a bar must look like, whichever source it comes from: the bounds of `tables.RAW_PRICES` and the rules
that tie open, high, low and close together."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from stockcast_assets import tables
from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import np, pd
from stockcast_assets.market import calendars
from stockcast_assets.schema import DTYPES

if TYPE_CHECKING:
    from pandera.errors import SchemaError
    from pandera.pandas import DataFrameSchema

COLUMNS = tables.RAW_PRICES.column_names
PRICES = ("open", "high", "low", "close", "adj_close")
TOLERANCE = 1e-4
"""Relative room for rounding in `low <= open, close <= high`: providers round each price on its own."""

QUOTED_TOLERANCE = 1e-3
"""The same for currencies (`EURUSD=X`): there is no exchange, and open, high and low come from different quotes."""

LIMITS = {**dict.fromkeys((*PRICES, "dividend"), 1e12), "volume": 1e18, "split_ratio": 1e5}
"""Larger values are no market data. A Bitcoin in dong is 3e9, its daily turnover there 1e15."""

LARGEST_STEP = 20.0
"""Factor between two closes in a row from which they cannot be in the same units: pence for pounds is 100, a lost
decimal point 10 to 1,000. Shares have lost 90 % in a session; none is known to have lost 95 % and traded on."""

_SURE_SPLIT = 1.4
"""Splits from this factor on are larger than what a price does by itself on such a day."""

_TRADING = 5
"""So many sessions in a row with volume make one without it a hole in the data."""

MOST_LEFT_OUT = 0.01
"""Share of a past that may be left out for being impossible; more is a fault of the source, not of a few days."""

_LEFT_OUT_ANYWAY = 3

_importing = threading.Lock()


def first_fault(bars: pd.DataFrame) -> tuple[int | None, str] | None:
    """The first thing wrong with a bars frame: its row position and words that complete "the bar has …".

    The position is None, and the words a clause of their own, if the fault is a column's (missing, unexpected
    or of a wrong type). Returns None for a good frame.
    """
    # Two threads that import it at the same time deadlock.
    with _importing:
        from pandera.errors import SchemaErrors

        schema = _schema()
    positioned = bars.reset_index(drop=True)
    try:
        schema.validate(positioned, lazy=True)
    except SchemaErrors as errors:
        faults = [_describe(error, positioned) for error in errors.schema_errors]
        return min(faults, key=lambda fault: -1 if fault[0] is None else fault[0])
    return None


def all_faults(bars: pd.DataFrame) -> dict[int, str]:
    """What is wrong with each impossible row of a bars frame, by its position; empty if a column is at fault."""
    with _importing:
        from pandera.errors import SchemaErrors

        schema = _schema()
    positioned = bars.reset_index(drop=True)
    found: dict[int, str] = {}
    try:
        schema.validate(positioned, lazy=True)
    except SchemaErrors as errors:
        for error in errors.schema_errors:
            if _describe(error, positioned)[0] is None:
                return {}
            for row in pd.unique(error.failure_cases["index"]):
                found.setdefault(int(row), _describe(error, positioned, int(row))[1])
    return found


def _describe(error: SchemaError, bars: pd.DataFrame, at: int | None = None) -> tuple[int | None, str]:
    from pandera.errors import SchemaErrorReason

    reason, cases, column = error.reason_code, error.failure_cases, getattr(error.schema, "name", None)
    if reason == SchemaErrorReason.COLUMN_NOT_IN_DATAFRAME:
        return None, f"the column {cases} is missing"
    if reason == SchemaErrorReason.COLUMN_NOT_IN_SCHEMA:
        return None, f"the column {cases} is none of a bar's"
    if reason == SchemaErrorReason.WRONG_DATATYPE:
        return None, f"the column {column} must hold {error.schema.dtype}, not {bars[column].dtype}"
    if reason == SchemaErrorReason.SERIES_CONTAINS_NULLS:
        return int(cases["index"].min()), f"no {column}"
    if reason == SchemaErrorReason.DUPLICATES:
        return int(cases["index"].max()), "a second row for that day"
    if reason != SchemaErrorReason.DATAFRAME_CHECK:
        return None, f"the columns must be {', '.join(COLUMNS)}"
    row = int(cases["index"].min()) if at is None else at
    if column is not None:
        return row, f"{column} {bars[column].iloc[row]:g}, which {error.check.error}"
    low, high = error.check.name.split("|")
    return row, f"{low} {bars[low].iloc[row]:g} above {high} {bars[high].iloc[row]:g}"


def validate_bars(
    bars: pd.DataFrame, where: str, remedy: str = "correct or remove that row at its origin"
) -> pd.DataFrame:
    """Return `bars` unchanged if every row is a possible bar.

    Raises:
        StockcastError: naming `where`, the first bad row and what is wrong with it, and the `remedy`.
    """
    fault = first_fault(bars)
    if fault is None:
        return bars
    row, words = fault
    if row is None:
        raise StockcastError(f"{where}: {words}.")
    bar = bars.iloc[row]
    day = "an unknown day" if pd.isna(bar["date"]) else f"{bar['date']:%Y-%m-%d}"
    label = f"{bar['ticker']} on {day}"
    raise StockcastError(f"{where}: the bar of {label} has {words}; {_with_line(remedy, bar)}.")


def _with_line(remedy: str, bar: pd.Series) -> str:
    """The remedy, `{line}` in it replaced by the line of calendars.toml that leaves the bar out."""
    if "{line}" not in remedy or pd.isna(bar["date"]):
        return remedy
    return remedy.replace("{line}", calendars.closing_line(bar["ticker"], [bar["date"]]))


def refuse_implausible(bars: pd.DataFrame, since: pd.Timestamp | None, where: str, remedy: str) -> pd.DataFrame:
    """Return `bars` unchanged if each is plausible beside the ones before it.

    Refused are a total return of more than `LARGEST_STEP` times the close before or less than its inverse, a dividend
    larger than the close before it, a split whose factor stands between two closes in a row (the source has not
    brought the earlier ones to new shares yet), and no volume after five sessions that all had some, except of an
    index or a currency, where nothing is traded. A crash by 30 % is none of these.

    Args:
        bars: possible bars of one ticker, sorted by date.
        since: the first day to judge, earlier ones are only compared with; None judges all, but for volumes:
            the deep past of many a ticker has days on which nothing was traded.
        where: what the sentence begins with.
        remedy: what it ends with; `{line}` in it becomes the line of calendars.toml that leaves the bar out.

    Raises:
        StockcastError: naming the first such bar, its values and what is wrong with them.
    """
    fault = first_implausible(bars, since)
    if fault is None:
        return bars
    row, words = fault
    bar = bars.iloc[row]
    shown = ", ".join(f"{name} {bar[name]:g}" for name in ("open", "high", "low", "close", "volume"))
    raise StockcastError(
        f"{where}: the bar of {bar['ticker']} on {bar['date']:%Y-%m-%d} ({shown}) has {words}; "
        f"{_with_line(remedy, bar)}."
    )


def first_implausible(bars: pd.DataFrame, since: pd.Timestamp | None) -> tuple[int, str] | None:
    """What `refuse_implausible` refuses: the row's position and words that complete "the bar has …"."""
    judged = np.ones(len(bars), bool) if since is None else (bars["date"] >= since).to_numpy()
    return _implausible(bars, judged, with_volume=since is not None)


def _implausible(bars: pd.DataFrame, judged: np.ndarray, with_volume: bool) -> tuple[int, str] | None:
    """The first judged row that is implausible beside the one before it, and words that complete "the bar has …"."""
    close, volume = bars["close"].to_numpy(np.float64), bars["volume"].to_numpy()
    ratio, dividend = bars["split_ratio"].to_numpy(np.float64), bars["dividend"].to_numpy(np.float64)
    traded = len(bars) > 0 and not str(bars["ticker"].iloc[0]).startswith("^") and not _is_quoted(bars).any()
    before = np.concatenate((close[:1], close[:-1]))
    step, total, split = np.log(close / before), np.log((close + dividend) / before), np.log(ratio)
    unapplied = (np.abs(split) >= np.log(_SURE_SPLIT)) & (np.abs(step + split) < np.abs(split) / 4)
    unapplied[:1] = False
    # The first bar has none before it: what it paid is compared with what it was worth afterwards.
    overpaid = dividend > np.concatenate((close[:1] * LARGEST_STEP, close[:-1]))
    leaps = np.abs(total) > np.log(LARGEST_STEP)
    halted = np.zeros(len(bars), bool)
    if with_volume and traded:
        for at in np.flatnonzero(judged & (volume == 0)):
            halted[at] = at >= _TRADING and (volume[at - _TRADING : at] > 0).all()
    suspicious = np.flatnonzero(judged & (unapplied | overpaid | leaps | halted))
    if not len(suspicious):
        return None
    row = int(suspicious[0])
    if unapplied[row]:
        return row, (
            f"a close of {close[row]:g} after {close[row - 1]:g}, as if its split of {ratio[row]:g} for 1 were "
            "not in the earlier prices yet"
        )
    if overpaid[row]:
        worth = close[row - 1] if row else close[row]
        return row, f"a dividend of {dividend[row]:g} on a close of {worth:g}, more than the share was worth"
    if leaps[row]:
        return row, f"a close of {close[row]:g} after {close[row - 1]:g}, too large a step for one session"
    return row, f"no volume, although each of the {_TRADING} sessions before had some"


def _is_quoted(bars: pd.DataFrame) -> pd.Series:
    """Whether a row is of a currency."""
    return bars["ticker"].astype(str).str.endswith("=X")


@dataclass(frozen=True)
class LeftOut:
    """A bar of the deep past that counts as missing, and why: words that complete "the bar has …"."""

    date: pd.Timestamp
    words: str

    def __str__(self) -> str:
        return f"{self.date:%Y-%m-%d}: {self.words}"


def leave_out(bars: pd.DataFrame, before: pd.Timestamp) -> tuple[pd.DataFrame, list[LeftOut]]:
    """The bars of one ticker without those before a day that cannot be: single ones that are impossible, or that stand
    alone between neighbours of another level.

    What a dropped row says of dividends and splits goes to the next one (`carry_events`), unless that is what is
    wrong with it. A level that lasts is no single bar: it stays, and `refuse_implausible` refuses it. So do all if
    more than `MOST_LEFT_OUT` of them are wrong.
    """
    early = (bars["date"] < before).to_numpy()
    out = {row: words for row, words in all_faults(bars).items() if early[row]}
    kept = carry_events(bars, ~np.isin(np.arange(len(bars)), list(out)))
    left = [LeftOut(bars["date"].iloc[row], words) for row, words in sorted(out.items())]
    if not all_faults(kept):
        while (fault := _implausible(kept, (kept["date"] < before).to_numpy(), with_volume=False)) is not None:
            row, words = fault
            # A first bar of another level makes the second one look wrong.
            alone = next((at for at in (row, row - 1) if at >= 0 and _is_alone(kept, at, row)), None)
            if alone is None or len(left) >= _most_left_out(bars):
                break
            left.append(LeftOut(kept["date"].iloc[alone], words))
            kept = carry_events(kept, np.arange(len(kept)) != alone)
    if len(left) > _most_left_out(bars):
        return bars, []
    return kept, sorted(left, key=lambda bar: bar.date)


def _most_left_out(bars: pd.DataFrame) -> int:
    return max(_LEFT_OUT_ANYWAY, int(len(bars) * MOST_LEFT_OUT))


def _is_alone(bars: pd.DataFrame, row: int, fault: int) -> bool:
    """Whether the fault is gone without that row, and no other comes in its place."""
    if row != fault and row != 0:
        return False
    around = bars.iloc[max(row - 1, 0) : row + 3]
    rest = carry_events(around, (around["date"] != bars["date"].iloc[row]).to_numpy())
    return _implausible(rest, np.ones(len(rest), bool), with_volume=False) is None


def carry_events(bars: pd.DataFrame, keep: np.ndarray) -> pd.DataFrame:
    """The rows to keep, with the dividends and splits of the others on the next one that is kept.

    A dividend belongs to whoever held the share the session before, whether its ex-date has a bar or not. One that is
    larger than any price around it stays with its row. What no later row can take is gone with it.

    Args:
        bars: rows with `dividend`, `split_ratio` and `close`, in the order of their dates; prices may be null.
        keep: [n] which of them stay.
    """
    if keep.all():
        return bars.reset_index(drop=True)
    place = np.searchsorted(np.flatnonzero(keep), np.arange(len(bars)))
    kept = bars[keep].reset_index(drop=True)
    dividend, ratio = kept["dividend"].to_numpy(np.float64).copy(), kept["split_ratio"].to_numpy(np.float64).copy()
    close = kept["close"].to_numpy(np.float64)
    for row in np.flatnonzero(~keep):
        paid, split, at = bars["dividend"].iloc[row], bars["split_ratio"].iloc[row], place[row]
        if at == len(kept):
            continue
        if np.isfinite(paid) and 0 < paid <= close[max(at - 1, 0)]:
            dividend[at] += paid
        if np.isfinite(split) and split > 0:
            ratio[at] *= split
    return kept.assign(dividend=dividend, split_ratio=ratio)


@lru_cache(maxsize=1)
def _schema() -> DataFrameSchema:
    import pandera.pandas as pa

    def column(declared: tables.Column) -> pa.Column:
        checks = []
        if declared.type == "FLOAT64":
            checks.append(pa.Check(np.isfinite, error="must be a finite number"))
        if declared.gt is not None:
            checks.append(pa.Check.gt(declared.gt, error=f"must be greater than {declared.gt:g}"))
        if declared.ge is not None:
            checks.append(pa.Check.ge(declared.ge, error=f"must be at least {declared.ge:g}"))
        if declared.le is not None:
            checks.append(pa.Check.le(declared.le, error=f"must be at most {declared.le:g}"))
        if declared.name in LIMITS:
            limit = LIMITS[declared.name]
            checks.append(pa.Check.le(limit, error=f"must be at most {limit:g}"))
        if declared.name == "split_ratio":
            least = 1 / LIMITS["split_ratio"]
            checks.append(pa.Check.ge(least, error=f"must be at least {least:g}"))
        return pa.Column(
            str if declared.type == "STRING" else DTYPES[declared.type], checks, nullable=not declared.required
        )

    def ordered(low: str, high: str) -> pa.Check:
        def holds(bars: pd.DataFrame) -> pd.Series:
            room = np.where(_is_quoted(bars), QUOTED_TOLERANCE, TOLERANCE)
            values: pd.Series = ~(bars[low] > bars[high] * (1 + room))
            return values

        return pa.Check(holds, name=f"{low}|{high}")

    return pa.DataFrameSchema(
        {declared.name: column(declared) for declared in tables.RAW_PRICES.columns},
        checks=[
            ordered("low", "high"),
            ordered("open", "high"),
            ordered("close", "high"),
            ordered("low", "open"),
            ordered("low", "close"),
        ],
        unique=list(tables.RAW_PRICES.primary_key),
        strict=True,
        ordered=True,
    )
