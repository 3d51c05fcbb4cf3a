"""Worlds that are alike up to a day, the cut, and differ in what came or was known after it.

Whatever carries a day up to the cut must be the same in all of them, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from stockcast_assets.libraries import np, pd
from stockcast_assets.market.earnings import ANNOUNCED, FILED, HOURS
from stockcast_assets.tables import EARNINGS_DATES, RAW_PRICES

PRICES = ("open", "high", "low", "close")
REVISED = (*PRICES, "adj_close", "volume")
"""What a revision of a bar says anew."""

LATER = "NEWCO"
"""The ticker that is listed after the cut."""

_DIVIDEND = 0.75
"""Part of an adjusted close that a dividend after the cut leaves of it."""


@dataclass(frozen=True)
class World:
    """All that a subject can ask for.

    Attributes:
        bars: the columns of `raw_prices`, by ticker and date.
        earnings: the columns of `earnings_dates`; a row is known at the end of `known_on`.
        revisions: ticker, date, known_on and REVISED: what was said of a bar again, and since when.
        sessions: calendar and date, one row per session that took place.
    """

    bars: pd.DataFrame
    earnings: pd.DataFrame
    revisions: pd.DataFrame
    sessions: pd.DataFrame

    @property
    def tickers(self) -> list[str]:
        return sorted(self.bars["ticker"].unique())


INPUTS = ("bars", "earnings", "revisions", "sessions")


def world_of(bars: pd.DataFrame, earnings: pd.DataFrame, seed: int = 0) -> World:
    """The world of some bars and reports. Its revisions are invented: a bar in a hundred is said again days later.

    Args:
        bars: columns of `raw_prices`.
        earnings: columns of `earnings_dates`.
        seed: of what is invented.
    """
    bars = bars.sort_values(["ticker", "date"], ignore_index=True)
    sessions = pd.DataFrame({"calendar": "bars", "date": np.sort(bars["date"].unique())})
    rng = np.random.default_rng(seed)
    said_again = bars[rng.random(len(bars)) < 0.01]
    return World(
        bars,
        earnings.sort_values(list(EARNINGS_DATES.primary_key), ignore_index=True),
        _revisions(said_again, said_again["date"] + pd.to_timedelta(rng.integers(1, 30, len(said_again)), "D"), rng),
        sessions,
    )


def _revisions(bars: pd.DataFrame, known_on: pd.Series, rng: np.random.Generator) -> pd.DataFrame:
    factor = np.exp(rng.normal(0, 0.02, len(bars)))
    said = {name: bars[name].to_numpy() * factor for name in (*PRICES, "adj_close")}
    columns = {"ticker": bars["ticker"], "date": bars["date"], "known_on": known_on, **said, "volume": bars["volume"]}
    return pd.DataFrame(columns).reset_index(drop=True)


def cuts(world: World, count: int, seed: int = 0) -> list[pd.Timestamp]:
    """Days to cut at: `count` drawn ones, and the eves of what a leak would know of.

    Those are the first bar of a ticker, the end of one, a split, a dividend, and the day on which a report became
    known. Drawn days leave a third of the days before them and a tenth after.
    """
    days = np.sort(world.bars["date"].unique())
    rng = np.random.default_rng(seed)
    middle = days[len(days) // 3 : max(len(days) * 9 // 10, len(days) // 3 + 1)]
    chosen = set(rng.choice(middle, min(count, len(middle)), replace=False))
    bars = world.bars
    of_ticker = bars.groupby("ticker")["date"]
    eventful = [
        of_ticker.min(),
        of_ticker.max() + pd.Timedelta(days=1),
        bars.loc[bars["split_ratio"] != 1, "date"],
        bars.loc[bars["dividend"] != 0, "date"],
        world.earnings["known_on"],
        world.revisions["known_on"],
    ]
    for of_kind in eventful:
        told = np.unique(of_kind.to_numpy())
        for day in rng.permutation(told[(told > days[len(days) // 10]) & (told < days[-3])])[:2]:
            chosen.add(days[np.searchsorted(days, day) - 1])
    return [pd.Timestamp(day) for day in sorted(chosen)]


def attacks(
    world: World, cut: pd.Timestamp, inputs: Collection[str] = INPUTS, seed: int = 0
) -> Iterator[tuple[str, World]]:
    """Every world that differs from `world` in one of some inputs, and after the cut alone.

    Args:
        world: the world as it is.
        cut: the last day that stays.
        inputs: of INPUTS, what may differ; what is drawn for one does not depend on the others.
        seed: of what is drawn.

    Yields:
        What was done, and the world.
    """
    for number, (name, title, differing) in enumerate(_ATTACKS):
        if name in inputs:
            rng = np.random.default_rng([seed, cut.toordinal(), number])
            yield title, replace(world, **{name: differing(world, cut, rng)})


def halted(world: World, cut: pd.Timestamp, seed: int = 0) -> World:
    """The world in which one ticker did not trade on the last three sessions up to the cut, nor on the next.

    What fills a gap from its far side shows there only.
    """
    rng = np.random.default_rng([seed, cut.toordinal()])
    ticker = rng.choice(world.tickers)
    own = world.bars["ticker"] == ticker
    before = world.bars.loc[own & (world.bars["date"] <= cut), "date"].tail(3)
    after = world.bars.loc[own & (world.bars["date"] > cut), "date"].head(1)
    gone = own & world.bars["date"].isin([*before, *after])
    return replace(world, bars=world.bars[~gone].reset_index(drop=True))


def _truncated(bars: pd.DataFrame, cut: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    known: pd.DataFrame = bars[bars["date"] <= cut]
    return known


def _spoilt(bars: pd.DataFrame, cut: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    """Later bars are another walk, and pay and split otherwise. They stay possible bars."""
    spoilt, late = bars.copy(), (bars["date"] > cut).to_numpy()
    close = bars.loc[late, "close"].to_numpy() * np.exp(rng.normal(0, 0.3, late.sum()))
    opens = close * np.exp(rng.normal(0, 0.05, late.sum()))
    values = {
        "open": opens,
        "close": close,
        "high": np.maximum(opens, close) * (1 + rng.random(late.sum()) / 20),
        "low": np.minimum(opens, close) * (1 - rng.random(late.sum()) / 20),
        "adj_close": close * 0.9,
        "volume": rng.integers(1, 10**7, late.sum()),
        "dividend": np.where(rng.random(late.sum()) < 0.02, close * 0.01, 0.0),
    }
    for name, of_late in values.items():
        spoilt.loc[late, name] = of_late
    return spoilt


def _shifted(bars: pd.DataFrame, cut: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    """Each later session has the values of the next one."""
    shifted, late = bars.copy(), bars["date"] > cut
    values = [name for name in bars.columns if name not in ("ticker", "date")]
    following = bars[late].groupby("ticker", sort=False)[values].shift(-1)
    shifted.loc[late, values] = following.fillna(bars.loc[late, values])
    return shifted.astype(bars.dtypes.to_dict())


def _with_holes(bars: pd.DataFrame, cut: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    kept: pd.DataFrame = bars[(bars["date"] <= cut) | (rng.random(len(bars)) < 0.5)]
    return kept


def _delisted(bars: pd.DataFrame, cut: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    there = np.sort(bars.loc[bars["date"] <= cut, "ticker"].unique())
    kept: pd.DataFrame = bars[(bars["date"] <= cut) | (bars["ticker"] != rng.choice(there))]
    return kept


def _newly_listed(bars: pd.DataFrame, cut: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    late: pd.DataFrame = bars[(bars["date"] > cut) & (bars["ticker"] == bars["ticker"].iloc[0])]
    return pd.concat([bars, late.assign(ticker=LATER)], ignore_index=True)


def _adjusted_again(bars: pd.DataFrame, cut: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    """A dividend after the cut: a provider then tells all earlier adjusted closes anew."""
    return bars.assign(adj_close=bars["adj_close"].where(bars["date"] > cut, bars["adj_close"] * _DIVIDEND))


RESTATED = "adjusted closes are told anew after a dividend"


def _unknown_yet(world: World, cut: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    known: pd.DataFrame = world.earnings[world.earnings["known_on"] <= cut]
    return known


def _moved(world: World, cut: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    earnings = world.earnings
    moved, late = earnings.copy(), (earnings["known_on"] > cut).to_numpy()
    days = pd.to_timedelta(rng.integers(1, 20, late.sum()), "D")
    for name in ("date", "known_on"):
        moved.loc[late, name] = earnings.loc[late, name] + days
    moved.loc[late, "hour"] = rng.choice(HOURS, late.sum())
    return moved


def _told_late(world: World, cut: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    """Of every ticker, a report on the day of the cut and one in the week before, of which nobody knew then."""
    said = [
        pd.DataFrame(
            {
                "ticker": world.tickers,
                "date": cut - pd.Timedelta(days=before),
                "hour": "after close",
                "kind": kind,
                "known_on": cut + pd.Timedelta(days=1),
                "cancelled": False,
                "source": "audit",
                "recorded_at": (cut + pd.Timedelta(days=1)).tz_localize("UTC"),
            }
        )
        for before, kind in ((0, FILED), (5, FILED), (-5, ANNOUNCED))
    ]
    return pd.concat([world.earnings, *said], ignore_index=True).astype(world.earnings.dtypes.to_dict())


def _restated(world: World, cut: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    early = world.bars[world.bars["date"] <= cut]
    again = early[early["date"] > cut - pd.Timedelta(days=60)]
    known_on = pd.Series(cut + pd.Timedelta(days=1), again.index)
    known = world.revisions[world.revisions["known_on"] <= cut]
    return pd.concat([known, _revisions(again, known_on, rng)], ignore_index=True)


def _closing(world: World, cut: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    sessions = world.sessions
    after = sessions.loc[sessions["date"] > cut, "date"].head(2)
    return sessions[~sessions["date"].isin(after)].reset_index(drop=True)


_Differing = Callable[[World, pd.Timestamp, np.random.Generator], pd.DataFrame]


def _of_bars(made: Callable[[pd.DataFrame, pd.Timestamp, np.random.Generator], pd.DataFrame]) -> _Differing:
    return lambda world, cut, rng: made(world.bars, cut, rng).sort_values(["ticker", "date"], ignore_index=True)


def _of_reports(made: _Differing) -> _Differing:
    key = list(EARNINGS_DATES.primary_key)
    return lambda world, cut, rng: made(world, cut, rng).sort_values(key, ignore_index=True)


_ATTACKS: tuple[tuple[str, str, _Differing], ...] = (
    ("bars", "bars end at the cut", _of_bars(_truncated)),
    ("bars", "later bars are others", _of_bars(_spoilt)),
    ("bars", "later bars come a session early", _of_bars(_shifted)),
    ("bars", "half of the later sessions have no bar", _of_bars(_with_holes)),
    ("bars", "a ticker ends at the cut", _of_bars(_delisted)),
    ("bars", "a ticker is listed after the cut", _of_bars(_newly_listed)),
    ("bars", RESTATED, _of_bars(_adjusted_again)),
    ("earnings", "what is said of reports later is not said", _of_reports(_unknown_yet)),
    ("earnings", "what is said of reports later is moved", _of_reports(_moved)),
    ("earnings", "reports of which nobody knew are told later", _of_reports(_told_late)),
    ("revisions", "bars are revised after it", _restated),
    ("sessions", "the exchange closes without notice", _closing),
)
"""The input that differs, what is done, and how."""


def bars_and_reports(sample: list[pd.DataFrame], reports: list[pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Frames of several tickers put together, with every column that a world has."""
    bars = pd.concat(sample, ignore_index=True)[RAW_PRICES.column_names]
    said = [frame for frame in reports if len(frame)]
    earnings = pd.concat(said, ignore_index=True) if said else EARNINGS_DATES.empty()
    return bars, earnings[EARNINGS_DATES.column_names]
