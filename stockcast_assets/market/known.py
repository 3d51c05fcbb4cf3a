"""Bars as they were known: what a table of bars said before a revision, and what it said at a moment.

A bar that is replaced or removed goes, as it was, to `price_revisions`. So the bars of any moment are there: of each
session the first one that was revised later, else the one that is stored now, if it had been stored by then.
"""

from __future__ import annotations

from datetime import date

from stockcast_assets.libraries import pd
from stockcast_assets.tables import PRICE_REVISIONS, RAW_PRICES

KEY = ["ticker", "date"]

_BARS = RAW_PRICES.column_names


def day_ends_at(day: date | pd.Timestamp) -> pd.Timestamp:
    """The first moment after a day, UTC: what is of a day was known before."""
    return pd.Timestamp(day).tz_localize(None).normalize().tz_localize("UTC") + pd.Timedelta(days=1)


def superseded(stored: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """The stored bars that are no more, or are other ones, once `new` takes the place of all of them.

    Of two zeros the sign is no difference: a database may keep one for both.

    Args:
        stored: bars, one per ticker and date, in the columns of `raw_prices`.
        new: likewise.
    """
    if stored.empty or new.empty:
        return stored
    places = pd.MultiIndex.from_frame(new[KEY]).get_indexer(pd.MultiIndex.from_frame(stored[KEY]))
    own, same = new.iloc[places], places >= 0
    for name in _BARS:
        # Tables keep microseconds.
        before, now = (frame[name].dt.floor("us") if name == "ingested_at" else frame[name] for frame in (stored, own))
        same &= before.to_numpy() == now.to_numpy()
    return stored[~same].reset_index(drop=True)


def new_revisions(
    gone: pd.DataFrame, revisions: pd.DataFrame, revised_at: pd.Timestamp, stored_in: str
) -> pd.DataFrame:
    """The rows of `price_revisions` that tell of bars which were replaced or removed.

    Args:
        gone: the bars, in the columns of `raw_prices`.
        revisions: the rows that there are of the same sessions and table, and perhaps of others.
        revised_at: the moment, UTC.
        stored_in: the table that had them.
    """
    before = revisions[revisions["stored_in"] == stored_in].groupby(KEY)["revision"].max()
    newest = before.reindex(pd.MultiIndex.from_frame(gone[KEY])).fillna(0).to_numpy("int64")
    rows = gone.assign(stored_in=stored_in, revision=newest + 1, revised_at=revised_at)
    return rows[PRICE_REVISIONS.column_names]


def as_known(current: pd.DataFrame, revisions: pd.DataFrame, stored_in: str, before: pd.Timestamp) -> pd.DataFrame:
    """The bars that a table held just before a moment, by ticker and date.

    Args:
        current: what it holds now, in the columns of `raw_prices`.
        revisions: the rows of `price_revisions` of the same sessions.
        stored_in: the table.
        before: the moment, UTC.
    """
    later = revisions[(revisions["stored_in"] == stored_in) & (revisions["revised_at"] >= before)]
    held = later.sort_values("revision").drop_duplicates(KEY)[_BARS]
    since = pd.MultiIndex.from_frame(current[KEY]).isin(pd.MultiIndex.from_frame(held[KEY]))
    bars = current[~since] if held.empty else pd.concat([held, current[~since]], ignore_index=True)
    # A bar that came after one was removed is of its own moment.
    return bars[bars["ingested_at"] < before].sort_values(KEY, ignore_index=True)
