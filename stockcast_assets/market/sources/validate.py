"""What a bar must look like, whichever source it comes from: the bounds of `tables.RAW_PRICES` and the rules
that tie open, high, low and close together."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING

from stockcast_assets import tables
from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import np, pd

if TYPE_CHECKING:
    from pandera.errors import SchemaError
    from pandera.pandas import DataFrameSchema

COLUMNS = tables.RAW_PRICES.column_names
PRICES = ("open", "high", "low", "close", "adj_close")
TOLERANCE = 1e-4
"""Relative room for rounding in `low <= open, close <= high`: providers round each price on its own."""

LARGEST_STEP = 20.0
"""Factor between two closes in a row from which they cannot be in the same units: pence for pounds is 100, a lost
decimal point 10 to 1,000. Shares have lost 90 % in a session; none is known to have lost 95 % and traded on."""

_SURE_SPLIT = 1.4
"""Splits from this factor on are larger than what a price does by itself on such a day."""

_TRADING = 5
"""So many sessions in a row with volume make one without it a hole in the data."""

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


def _describe(error: SchemaError, bars: pd.DataFrame) -> tuple[int | None, str]:
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
    row = int(cases["index"].min())
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
    raise StockcastError(f"{where}: the bar of {label} has {words}; {remedy}.")


def refuse_implausible(bars: pd.DataFrame, since: pd.Timestamp | None, where: str, remedy: str) -> pd.DataFrame:
    """Return `bars` unchanged if each is plausible beside the ones before it.

    Refused are a close more than `LARGEST_STEP` times the one before or less than its inverse, a split whose
    factor stands between two closes in a row (the source has not brought the earlier ones to new shares yet),
    and no volume after five sessions that all had some. A crash by 30 % is none of these.

    Args:
        bars: possible bars of one ticker, sorted by date.
        since: the first day to judge, earlier ones are only compared with; None judges all, but for volumes:
            the deep past of many a ticker has days on which nothing was traded.
        where: what the sentence begins with.
        remedy: what it ends with.

    Raises:
        StockcastError: naming the first such bar, its values and what is wrong with them.
    """
    close, volume = bars["close"].to_numpy(np.float64), bars["volume"].to_numpy()
    ratio = bars["split_ratio"].to_numpy(np.float64)
    judged = np.ones(len(bars), bool) if since is None else (bars["date"] >= since).to_numpy()
    for row in np.flatnonzero(judged):
        before = row - 1
        if before < 0:
            continue
        step, split = np.log(close[row] / close[before]), np.log(ratio[row])
        words = None
        if abs(split) >= np.log(_SURE_SPLIT) and abs(step + split) < abs(split) / 4:
            words = (
                f"a close of {close[row]:g} after {close[before]:g}, as if its split of {ratio[row]:g} for 1 were "
                "not in the earlier prices yet"
            )
        elif abs(step) > np.log(LARGEST_STEP):
            words = f"a close of {close[row]:g} after {close[before]:g}, too large a step for one session"
        elif since is not None and volume[row] == 0 and row >= _TRADING and (volume[row - _TRADING : row] > 0).all():
            words = f"no volume, although each of the {_TRADING} sessions before had some"
        if words is not None:
            bar = bars.iloc[row]
            shown = ", ".join(f"{name} {bar[name]:g}" for name in ("open", "high", "low", "close", "volume"))
            raise StockcastError(
                f"{where}: the bar of {bar['ticker']} on {bar['date']:%Y-%m-%d} ({shown}) has {words}; {remedy}."
            )
    return bars


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
        return pa.Column(
            str if declared.type == "STRING" else tables.DTYPES[declared.type], checks, nullable=not declared.required
        )

    def ordered(low: str, high: str) -> pa.Check:
        return pa.Check(lambda bars: ~(bars[low] > bars[high] * (1 + TOLERANCE)), name=f"{low}|{high}")

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
