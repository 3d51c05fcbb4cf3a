"""The check `second_opinion`: does another source say of each bar what is stored? Made only where one is configured."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import pd
from stockcast_assets.market.second_opinion import AGREEMENT, Opinion, second_opinion
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.orchestration.assets.bars import read_bars
from stockcast_assets.orchestration.assets.specs import days_by_ticker, has_keys, rows_of_keys
from stockcast_assets.orchestration.planning.ranges import known_tickers
from stockcast_assets.settings import FOLDER
from stockcast_assets.tables import PRICE_HISTORY, RAW_PRICES
from stockcast_assets.warehouse import Warehouse

_MOST_LISTED = 100

_DESCRIPTION = (
    "Compares every bar the run stored with what STOCKCAST_SECOND_SOURCE says of it: closes that differ by more than "
    f"{AGREEMENT:g}, besides dividends, are listed in the metadata. A warning: one of the two is wrong, and who looks "
    "at both knows which. `stockcast compare` lists every stored bar."
)


def opinions(
    warehouse: Warehouse, sources: Sources, second: str, tickers: Sequence[str], until: date
) -> dict[str, Opinion | str]:
    """What the second source says of each ticker's stored bars, or in words why it says nothing."""
    bars = {str(ticker): rows for ticker, rows in read_bars(warehouse, tickers, until).groupby("ticker")}
    ask = _reader(sources, second)
    found: dict[str, Opinion | str] = {}
    for ticker, rows in bars.items():
        try:
            found[ticker] = second_opinion(
                ticker, rows.reset_index(drop=True), ask(ticker, rows["date"].iloc[-1].date())
            )
        except StockcastError as error:
            found[ticker] = str(error)
    return found


def _reader(sources: Sources, second: str) -> "Callable[[str, date], pd.DataFrame]":
    if second.startswith(FOLDER):
        from stockcast_assets.market.sources.folder import FolderSource

        folder = FolderSource(Path(second.removeprefix(FOLDER)).expanduser())
        return lambda ticker, until: folder.bars(ticker)
    source = sources.get(second)
    return lambda ticker, until: source.bars(ticker, None, until)


def build_second_opinion_checks(second: str | None) -> list[dg.AssetChecksDefinition]:
    """The check of `price_history` and of `raw_prices`; none if no second source is set."""
    if second is None:
        return []
    return [_build(second, PRICE_HISTORY.name), _build(second, RAW_PRICES.name)]


def _build(second: str, asset: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset, name="second_opinion", description=_DESCRIPTION, blocking=False)
    def run(
        context: dg.AssetCheckExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        sources: dg.ResourceParam[Sources],
    ) -> dg.AssetCheckResult:
        days = None
        if has_keys(context):
            keys = list(context.partition_keys)
            days = days_by_ticker(keys) if asset == RAW_PRICES.name else None
            tickers = list(days or keys)
        else:
            tickers = known_tickers(context.instance)
        found = opinions(warehouse, sources, second, tickers, utc_now().date())
        heard = {ticker: opinion for ticker, opinion in found.items() if isinstance(opinion, Opinion)}
        rows = [opinion.bars.assign(ticker=ticker) for ticker, opinion in heard.items()]
        bars = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=["ticker", "date", "agrees"])
        if days is not None:
            bars = rows_of_keys(bars, days)
        disputed = bars[bars["agrees"].eq(False).fillna(False)]
        listed = [
            f"{row.ticker} {row.date:%Y-%m-%d}: {row.close:g} here, {row.second_close:g} there"
            for row in disputed.head(_MOST_LISTED).itertuples()
        ]
        silent = {ticker: words for ticker, words in found.items() if isinstance(words, str)}
        agreed, said = int(bars["agrees"].eq(True).fillna(False).sum()), int(bars["agrees"].notna().sum())
        return dg.AssetCheckResult(
            passed=not len(disputed),
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(listed[:3]) + "." if listed else f"{agreed} of {len(bars)} bars are said by both.",
            metadata={
                "bars": len(bars),
                "said by both": agreed,
                "disputed": len(disputed),
                "without a second opinion": len(bars) - said,
                "disputed bars": dg.MetadataValue.json(listed),
                "not heard": dg.MetadataValue.json(silent),
            },
        )

    return run
