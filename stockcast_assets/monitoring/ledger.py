"""The ledger of what was published: its entries, the chain that holds them together, and what breaks it.

A ticker's entries are numbered in the order of publication, whatever their days; an entry is the ten rows of one as-of
date. Each row's digest is made of the digest of the ticker's row before it and of its own values, so that no row can be
changed, removed or put in without the next one telling. Tickers do not share a chain: runs of different tickers, and
backfills in any order, do not meet. What was removed at a chain's end only an earlier head tells (`Head`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from stockcast_assets.libraries import np, pd
from stockcast_assets.market import calendars
from stockcast_assets.tables import FORECASTS, HORIZON, PUBLISHED_FORECASTS, Column

KEY = ["ticker", "date"]
ORDER = ["ticker", "entry", "horizon"]
BARS_KNOWN = ("close", "date", "dividend", "high", "low", "open", "split_ratio", "volume")
"""The columns of bars that a forecast may depend on."""

_CHAINED = tuple(column for column in PUBLISHED_FORECASTS.columns if column.name != "digest")
_KNOWN = tuple(
    Column(name, "DATE" if name == "date" else "INT64" if name == "volume" else "FLOAT64", "") for name in BARS_KNOWN
)


class Head(NamedTuple):
    """The end of a ticker's chain: its last entry, and the digest of that entry's last row."""

    entry: int
    digest: str


START = Head(0, "")
"""The head of a ticker of which nothing was published."""


@dataclass(frozen=True)
class Anchor:
    """Heads as somebody else than the warehouse remembers them.

    Attributes:
        where: who does, in words.
        heads: by ticker.
    """

    where: str
    heads: Mapping[str, Head]


@dataclass(frozen=True)
class Fault:
    """What breaks the ledger.

    Attributes:
        ticker: of which ticker.
        why: in words.
        date: the as-of date of the first bad row, if it is there.
        revision: its revision.
        horizon: its horizon.
    """

    ticker: str
    why: str
    date: str | None = None
    revision: int | None = None
    horizon: int | None = None

    def __str__(self) -> str:
        row = "" if self.date is None else f" {self.date}, revision {self.revision}, horizon {self.horizon}"
        return f"{self.ticker}{row}: {self.why}."


def encoded(frame: pd.DataFrame, columns: Iterable[Column]) -> list[bytes]:
    """Each row's values as bytes, whatever database they come from.

    The names and types of the columns that are not null, in the order of their names, and after them the values: eight
    bytes each, big-endian (FLOAT64 as IEEE 754, DATE as days and TIMESTAMP as microseconds since 1970, BOOL as 0 or 1),
    of a STRING the SHA-256 of its UTF-8. So a column that is added later, null in older rows, changes none of them.
    """
    if frame.empty:
        return []
    ordered = sorted(columns, key=lambda column: column.name)
    there = np.column_stack([frame[column.name].notna().to_numpy() for column in ordered])
    values = [_bytes(frame[column.name], column) for column in ordered]
    found: list[bytes] = [b""] * len(frame)
    patterns = np.zeros(len(frame), np.int64)
    for known in there.T:
        if not known.all():
            patterns = pd.factorize(patterns * 2 + known)[0]
    for pattern in np.unique(patterns):
        rows = np.flatnonzero(patterns == pattern)
        known_here = there[rows[0]]
        chosen = [(column, value) for column, value, known in zip(ordered, values, known_here, strict=True) if known]
        head = "".join(f"{column.name}:{column.type};" for column, _ in chosen).encode()
        block = np.hstack([value[rows] for _, value in chosen])
        width, text = block.shape[1], block.tobytes()
        for number, row in enumerate(rows.tolist()):
            found[row] = head + text[number * width : (number + 1) * width]
    return found


def _bytes(values: pd.Series, column: Column) -> Any:
    """A column's values as an array of bytes, [row, byte]; anything where it is null."""
    if column.type == "STRING":
        codes, distinct = pd.factorize(values)
        digests = [hashlib.sha256(str(text).encode()).digest() for text in distinct] or [bytes(32)]
        return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)[codes]
    if column.type == "DATE":
        numbers = values.to_numpy("datetime64[D]").astype(">i8")
    elif column.type == "TIMESTAMP":
        numbers = pd.DatetimeIndex(values).tz_convert(None).to_numpy().astype("datetime64[us]").astype(">i8")
    elif column.type == "FLOAT64":
        numbers = values.to_numpy(">f8", na_value=0.0)
    else:
        numbers = values.astype("Int64").fillna(0).to_numpy(">i8")
    return np.ascontiguousarray(numbers).view(np.uint8).reshape(-1, 8)


def bars_digests(bars: pd.DataFrame, days: Sequence[pd.Timestamp]) -> dict[pd.Timestamp, str]:
    """For each day the SHA-256 of a ticker's bars up to it (`encoded`, `BARS_KNOWN`), oldest first."""
    ordered = bars.sort_values("date")
    rows, ends = encoded(ordered, _KNOWN), ordered["date"].to_numpy()
    digest, done, found = hashlib.sha256(), 0, {}
    for day in sorted(days):
        upto = int(np.searchsorted(ends, day.to_datetime64(), side="right"))
        digest.update(b"".join(rows[done:upto]))
        done, found[day] = upto, digest.hexdigest()
    return found


def contents(forecasts: pd.DataFrame) -> dict[tuple[str, pd.Timestamp], bytes]:
    """What the rows of each (ticker, as-of date) say in the columns of `forecasts`: same bytes, same forecast."""
    ordered = forecasts.sort_values([*KEY, "horizon"], ignore_index=True)
    firsts = ordered[KEY].drop_duplicates()
    rows, starts = encoded(ordered, FORECASTS.columns), [*firsts.index, len(ordered)]
    keys = zip(firsts["ticker"], firsts["date"], strict=True)
    return {key: b"".join(rows[starts[place] : starts[place + 1]]) for place, key in enumerate(keys)}


def newest_revisions(entries: pd.DataFrame) -> pd.DataFrame:
    """Of rows of the ledger those of each (ticker, as-of date)'s last entry."""
    return entries[entries["entry"] == entries.groupby(KEY)["entry"].transform("max")]


def new_entries(
    forecasts: pd.DataFrame,
    stored: pd.DataFrame,
    heads: Mapping[str, Head],
    known: pd.DataFrame,
    published_at: pd.Timestamp,
    code_version: str,
) -> pd.DataFrame:
    """The rows that publishing forecasts adds to the ledger; none for what its newest entry says already.

    Args:
        forecasts: rows of `forecasts`, all ten of each key.
        stored: the ledger's rows of the same keys, and perhaps of others.
        heads: the heads of the chains; a ticker without an entry has none.
        known: one row per (ticker, date) with `model_digest` and `data_digest`.
        published_at: the moment, in UTC, to the microsecond.
        code_version: the stockcast that made them.
    """
    said = contents(newest_revisions(stored))
    fresh = [key for key, content in contents(forecasts).items() if said.get(key) != content]
    if not fresh:
        return PUBLISHED_FORECASTS.empty()
    keys = pd.DataFrame(sorted(fresh), columns=KEY)
    first = keys["ticker"].map(lambda ticker: heads.get(ticker, START).entry)
    keys["entry"] = keys.groupby("ticker").cumcount() + 1 + first.astype("int64")
    made = stored.drop_duplicates([*KEY, "entry"]).groupby(KEY).size().rename("revision")
    keys = keys.merge(made, how="left", left_on=KEY, right_index=True)
    keys["revision"] = keys["revision"].fillna(0).astype("int64")
    rows = forecasts.merge(keys, on=KEY).merge(known, on=KEY, how="left").sort_values(ORDER, ignore_index=True)
    calendar_of = {ticker: calendars.calendar_for(ticker) for ticker in rows["ticker"].unique()}
    targets = pd.DataFrame({"calendar": rows["ticker"].map(calendar_of), "target": rows["target_date"]})
    opens = targets.drop_duplicates()
    opens = opens.assign(at=[calendars.session_open(*row) for row in opens.itertuples(index=False)])
    opened = targets.merge(opens, how="left")["at"]
    rows = rows.assign(published_at=published_at, target_opens_at=opened, code_version=code_version)
    rows["late"] = rows["published_at"] >= rows["target_opens_at"]
    return rows.assign(digest=_chain(rows, heads))[PUBLISHED_FORECASTS.column_names]


def _chain(rows: pd.DataFrame, heads: Mapping[str, Head]) -> list[str]:
    """The digests of new rows in the ledger's order, after the heads of their tickers."""
    last = {ticker: head.digest for ticker, head in heads.items()}
    digests = []
    for ticker, row in zip(rows["ticker"], encoded(rows, _CHAINED), strict=True):
        last[ticker] = _digest(last.get(ticker, START.digest), row)
        digests.append(last[ticker])
    return digests


def _digest(before: str, row: bytes) -> str:
    return hashlib.sha256(before.encode() + row).hexdigest()


def heads_of(rows: pd.DataFrame) -> dict[str, Head]:
    """The head of each ticker's chain, of rows that have its last one."""
    last = rows.sort_values(ORDER).drop_duplicates("ticker", keep="last")
    return {
        ticker: Head(int(entry), digest)
        for ticker, entry, digest in zip(last["ticker"], last["entry"], last["digest"], strict=True)
    }


def head_hash(heads: Mapping[str, Head]) -> str:
    """One SHA-256 for the heads of several tickers: of the lines `TICKER ENTRY DIGEST`, sorted."""
    lines = "".join(f"{ticker} {entry} {digest}\n" for ticker, (entry, digest) in sorted(heads.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def faults(ledger: pd.DataFrame, anchors: Iterable[Anchor] = ()) -> list[Fault]:
    """What breaks the ledger: of each ticker the first bad row, or that what others remember is not there.

    Args:
        ledger: every row of `published_forecasts`, of all tickers or some.
        anchors: heads of the same tickers as others remember them.
    """
    ordered = ledger.sort_values([*ORDER, "digest"], kind="stable", ignore_index=True)
    found = {fault.ticker: fault for fault in reversed(list(_broken(ordered)))}
    ends = ordered[ordered["horizon"] == HORIZON]
    digests = dict(zip(zip(ends["ticker"], ends["entry"], strict=True), ends["digest"], strict=True))
    for anchor in anchors:
        for ticker, head in anchor.heads.items():
            stored = digests.get((ticker, head.entry))
            if stored != head.digest and ticker not in found:
                what = "is gone" if stored is None else "is another one"
                found[ticker] = Fault(ticker, f"entry {head.entry}, of which {anchor.where} tells, {what}")
    return [found[ticker] for ticker in sorted(found)]


def _broken(ordered: pd.DataFrame) -> Iterator[Fault]:
    """Every bad row, in the ledger's order."""
    columns = [ordered[name].tolist() for name in (*ORDER, "digest")]
    before, last, wanted = None, START.digest, (1, 1)
    for place, (row, ticker, entry, horizon, digest) in enumerate(
        zip(encoded(ordered, _CHAINED), *columns, strict=True)
    ):
        if ticker != before:
            if before is not None and wanted[1] != 1:
                yield _at(ordered, place - 1, f"its entry ends after horizon {wanted[1] - 1}: rows were removed")
            before, last, wanted = ticker, START.digest, (1, 1)
        if (entry, horizon) != wanted:
            yield _at(
                ordered,
                place,
                f"it is entry {entry}, horizon {horizon} where entry {wanted[0]}, horizon {wanted[1]} must be: a row "
                "was removed or put in",
            )
        elif digest != _digest(last, row):
            yield _at(
                ordered,
                place,
                "its digest is not that of its values and the row before it: it was edited, or the row before it",
            )
        last, wanted = digest, (entry, horizon + 1) if horizon < HORIZON else (entry + 1, 1)
    if before is not None and wanted[1] != 1:
        yield _at(ordered, len(ordered) - 1, f"its entry ends after horizon {wanted[1] - 1}: rows were removed")


def _at(ordered: pd.DataFrame, place: int, why: str) -> Fault:
    row = ordered.iloc[place]
    return Fault(row["ticker"], why, f"{row['date']:%Y-%m-%d}", int(row["revision"]), int(row["horizon"]))


def unpublished(ledger: pd.DataFrame, forecasts: pd.DataFrame) -> tuple[list[Fault], int]:
    """Forecasts that are not what the ledger's newest entry says, and how many (ticker, day) it knows nothing of.

    Those were stored by a release that kept no ledger; or their entry was removed, of which anchors tell.
    """
    said, there = contents(newest_revisions(ledger)), contents(forecasts)
    found = [
        Fault(ticker, f"its forecast of {day:%Y-%m-%d} is not the one that the ledger's newest entry has")
        for (ticker, day), content in there.items()
        if (ticker, day) in said and said[ticker, day] != content
    ]
    return found, len(there.keys() - said.keys())
