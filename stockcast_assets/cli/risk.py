"""`stockcast risk`: what holdings may lose in the next sessions, whose risk it is, and whether it was true before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stockcast_assets.as_known import past_day, world_of
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import open_session
from stockcast_assets.cli.tables import print_json, print_table
from stockcast_assets.cli.terminal import out
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.risk.holdings import one_currency, read_holdings
from stockcast_assets.forecasting.risk.report import FAN, WHAT_IT_IS, PortfolioRisk, document, judged
from stockcast_assets.inputs import parse_day
from stockcast_assets.orchestration.portfolio import risk_of


def file_and_day(words: Sequence[str], holdings: Path | None) -> tuple[Path, str | None]:
    """The file of holdings and the day, of what was typed.

    Raises:
        StockcastError: if no file is named, or more than a file and a day.
    """
    left = list(words)
    file = holdings or (Path(left.pop(0)) if left else None)
    if file is None or len(left) > 1:
        raise StockcastError("Name a file of holdings and perhaps a day: stockcast risk --holdings holdings.csv.")
    return file, left[0] if left else None


def run(call: Invocation, holdings: Path, day_text: str | None, as_known_on: str | None) -> None:
    """Print the risk of a file of holdings as of the newest day up to `day_text` of which all have a forecast, by what
    is known now or was known at the end of a day."""
    known_on = None if as_known_on is None else past_day(as_known_on)
    quantities = read_holdings(holdings)
    unit = one_currency(quantities)
    with open_session(call) as session:
        world = world_of(session.warehouse, known_on)
        risk = risk_of(world, quantities, None if day_text is None else parse_day(day_text))
    if call.as_json:
        print_json({"holdings": str(holdings), **document(risk, unit), "as_known_on": known_on})
        return
    _print(risk, unit or "the unit of the prices")
    if known_on is not None:
        out.print(f"By the bars and forecasts as they were known at the end of {known_on}.", style="dim")


def _print(risk: PortfolioRisk, unit: str) -> None:
    print_table(
        f"Gain or loss in {unit} as of {risk.day:%Y-%m-%d}; all positions are worth {risk.value:,.2f}",
        [
            "sessions",
            *("median" if q == 0.5 else f"{q:.0%}".replace("%", " %") for q in FAN),
            *("VaR 1 %", "ES 1 %", "VaR 5 %", "ES 5 %"),
        ],
        [
            [horizon, *risk.fan[horizon - 1].tolist(), *(value for one in tails for value in one[1:])]
            for horizon, tails in risk.tails.items()
        ],
        drop=(("25 %", "75 %"), ("5 %", "95 %"), ("1 %", "99 %"), ("median",)),
    )
    adds = [
        (f"VaR {level} % in {sessions}", f"ES {level} % in {sessions}") for sessions in (1, HORIZON) for level in (1, 5)
    ]
    print_table(
        f"What each position adds to value at risk (VaR) and expected shortfall (ES) in 1 and {HORIZON} sessions",
        ["ticker", "quantity", "value", *(heading for two in adds for heading in two)],
        [
            [
                *(one.ticker, one.quantity, one.value),
                *(share for key in one.shortfall for share in (one.at_risk[key], one.shortfall[key])),
            ]
            for one in risk.positions
        ],
        drop=(adds[3], adds[1], ("quantity",), adds[2][:1], adds[0][:1]),
    )
    print_table(
        "The worst past stretches, as they would be for these holdings",
        ["sessions", "from", "to", "gain"],
        [
            [length, str(one.first), str(one.last), one.gain]
            for length, stretches in risk.stretches.items()
            for one in stretches
        ],
    )
    for sentence in (*judged(risk), WHAT_IT_IS):
        out.print(sentence, highlight=False)
