"""`stockcast compare`: every stored bar beside what a second source says of it."""

from __future__ import annotations

from collections.abc import Sequence

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import open_session
from stockcast_assets.cli.tables import print_json, print_table
from stockcast_assets.cli.terminal import out
from stockcast_assets.clock import utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import validate_ticker
from stockcast_assets.market.second_opinion import Opinion
from stockcast_assets.orchestration.asset_checks.second_opinion import opinions
from stockcast_assets.orchestration.planning.ranges import known_tickers


def run(call: Invocation, tickers: Sequence[str]) -> None:
    """Print how many bars of each ticker both sources have and agree on, and which they do not.

    Raises:
        StockcastError: if no second source is set, or a ticker has no stored bar.
    """
    with open_session(call) as session:
        session.require_rows_here()
        second = session.settings.second_source
        if second is None:
            raise StockcastError(
                "There is no second source to compare with: set STOCKCAST_SECOND_SOURCE, for example to "
                "folder:/data/stooq, a folder of CSV files."
            )
        wanted = [validate_ticker(ticker) for ticker in tickers] or known_tickers(session.instance)
        found = opinions(session.warehouse, session.sources, second, wanted, utc_now().date())
        without = [ticker for ticker in tickers if ticker not in found]
        if without:
            raise StockcastError(f"No bar of {without[0]} is stored: `stockcast forecast {without[0]}` brings it up.")
        if call.as_json:
            print_json({ticker: _document(opinion) for ticker, opinion in found.items()})
            return
        print_table(
            f"Second opinion of {second}",
            ["ticker", "bars", "in both", "disputed", "only there", "compared with", "last in both"],
            [_row(ticker, opinion) for ticker, opinion in found.items()],
        )
        for opinion in found.values():
            for sentence in [opinion] if isinstance(opinion, str) else opinion.sentences():
                out.print(sentence, soft_wrap=True)


def _row(ticker: str, opinion: Opinion | str) -> list[object]:
    if isinstance(opinion, str):
        return [ticker, *["-"] * 6]
    both = opinion.bars["date"][opinion.bars["agrees"].notna()]
    last = f"{both.iloc[-1]:%Y-%m-%d}" if len(both) else "-"
    return [
        ticker,
        len(opinion.bars),
        opinion.heard,
        len(opinion.disputed),
        len(opinion.absent),
        opinion.basis,
        last,
    ]


def _document(opinion: Opinion | str) -> dict[str, object]:
    if isinstance(opinion, str):
        return {"not_heard": opinion}
    bars = opinion.bars.astype({"second_close": object, "agrees": object})
    bars = bars.where(bars.notna(), None).assign(date=opinion.bars["date"].dt.strftime("%Y-%m-%d"))
    return {
        "compared_with": opinion.basis,
        "bars": bars.to_dict("records"),
        "only_there": [f"{day:%Y-%m-%d}" for day in opinion.absent],
    }
