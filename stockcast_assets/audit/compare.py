"""What differs between two worlds of what carries a day up to the cut, bit for bit."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import np, pd

ROWS = "(rows)"
"""The column of a finding of which the row itself is there in one world only."""
_KEYS = ("date", "ticker", "horizon", "feature")
_NUMBER = "row number"
ROUNDING = 1e-9
FAILS = "(fails)"
"""That of one in which the subject ends in an error where the later data is another."""


@dataclass(frozen=True)
class Moved:
    """A column that knew what came later.

    Attributes:
        column: its name.
        day: the first day on which it differs.
        ticker: whose row that is; None of a row of no ticker.
        cut: the day up to which the worlds are alike.
        attack: what was done after the cut.
        before: the value there in the world as it is.
        after: that in the other world.
    """

    column: str
    day: pd.Timestamp
    ticker: str | None
    cut: pd.Timestamp
    attack: str
    before: object
    after: object


def moved(
    truth: pd.DataFrame,
    other: pd.DataFrame,
    cut: pd.Timestamp,
    attack: str,
    skip: Collection[str] = (),
    rounding: bool = False,
) -> list[Moved]:
    """The columns of two frames that differ on days up to the cut, each once, with its first such day.

    Args:
        truth: `date`, perhaps `ticker`, perhaps `horizon`; any other columns. Rows that share these are told apart by
            their order.
        other: the same of the other world.
        skip: columns that are not compared.
        rounding: whether numbers that are the same to ROUNDING count as the same: those of a world that is told in
            other units.
    """
    keys = [
        name for name in ("date", "ticker", "horizon", "feature") if name in truth.columns and name in other.columns
    ]
    left, right = (frame[frame["date"] <= cut] for frame in (truth, other))
    found = []
    if not _same_rows(left, right, keys):
        left, right = _numbered(left, keys), _numbered(right, keys)
        only = left.index.symmetric_difference(right.index, sort=True)
        if len(only):
            row = only[0]
            found.append(_finding(ROWS, row, keys, cut, attack, row in left.index, row in right.index))
        both = left.index.intersection(right.index, sort=True)
        left, right = left.loc[both].reset_index(), right.loc[both].reset_index()
    for column in dict.fromkeys([*left.columns, *right.columns]):
        if column in (*keys, _NUMBER, *skip):
            continue
        # A column that is not there, as of a ticker that is not yet, says nothing of any day.
        before, after = (
            frame[column].to_numpy() if column in frame else np.full(len(frame), np.nan) for frame in (left, right)
        )
        same = _same(before, after, ROUNDING if rounding else 0.0)
        if not same.all():
            wrong = left.loc[~same, keys].sort_values(keys)
            place = left.index.get_loc(wrong.index[0])
            row = tuple(wrong.iloc[0])
            found.append(_finding(str(column), row, keys, cut, attack, before[place], after[place]))
    return found


def require_same_twice(once: pd.DataFrame, twice: pd.DataFrame, name: str) -> None:
    """Refuse a subject that gives other values of the same world.

    Raises:
        StockcastError: if the frames differ; the sentence names the first column that does.
    """
    differing = moved(once, twice, pd.Timestamp.max, "")
    if differing:
        raise StockcastError(
            f"{name} gives another {differing[0].column} when it is called again with the same data, so nothing can be "
            "said of it: seed its random numbers, and keep nothing between calls."
        )


def _same_rows(left: pd.DataFrame, right: pd.DataFrame, keys: list[str]) -> bool:
    return len(left) == len(right) and all(
        np.array_equal(left[name].to_numpy(), right[name].to_numpy(), equal_nan=False) for name in keys
    )


def _numbered(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    number = frame.groupby(keys, dropna=False, sort=False).cumcount().rename(_NUMBER)
    return frame.set_index([*(frame[name] for name in keys), number]).drop(columns=keys)


def _same(before: np.ndarray, after: np.ndarray, rounding: float) -> np.ndarray:
    """Element by element. Nulls are equal to each other, and every not-a-number is a null."""
    both_null = pd.isna(before) & pd.isna(after)
    if before.dtype.kind in "iuf" and after.dtype.kind in "iuf":
        # As floats: a column of numbers has another type where one is missing. -0.0 is not 0.0, to the last bit.
        bits = [np.asarray(values, np.float64).view(np.int64) for values in (before, after)]
        same: np.ndarray = (bits[0] == bits[1]) | both_null
        if rounding:
            same |= np.isclose(before.astype(float), after.astype(float), rtol=rounding, atol=rounding)
        return same
    pairs = zip(before.tolist(), after.tolist(), both_null.tolist(), strict=True)
    return np.array([null or _equal(left, right) for left, right, null in pairs], dtype=bool)


def _equal(left: object, right: object) -> bool:
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return bool(np.array_equal(left, right))  # type: ignore[arg-type]
    return bool(left == right)


def _finding(
    column: str, row: tuple[object, ...], keys: list[str], cut: pd.Timestamp, attack: str, before: object, after: object
) -> Moved:
    values = dict(zip(keys, row, strict=False))
    ticker = values.get("ticker")
    day = pd.Timestamp(values["date"])  # type: ignore[arg-type]
    return Moved(column, day, None if ticker is None else str(ticker), cut, attack, before, after)
