"""What is said of the risk of holdings: its numbers, a document of them, and what they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from stockcast_assets.forecasting.risk.portfolio import Backtest, Stretch, Tail
from stockcast_assets.libraries import pd
from stockcast_assets.market.indicators import Floats

FAN = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99)
"""Quantiles of the gains that are shown."""

WHAT_IT_IS = (
    "A value at risk of 1 % is a loss that one session in a hundred exceeds, if the forecasts are right and the "
    "tickers move together as they did in the last five years. It is not the most that can be lost, and it does not "
    "say how much is lost beyond it: the expected shortfall is the mean of that. Neither is advice."
)


@dataclass(frozen=True)
class Position:
    """One ticker that is held.

    Attributes:
        ticker: which.
        quantity: how many, negative if short.
        close: of the as-of day.
        value: of all of them.
        at_risk, shortfall: by horizon and level what it adds to the value at risk and to the expected shortfall of all
            positions.
    """

    ticker: str
    quantity: float
    close: float
    value: float
    at_risk: Mapping[tuple[int, float], float]
    shortfall: Mapping[tuple[int, float], float]


@dataclass(frozen=True)
class PortfolioRisk:
    """What holdings may gain or lose in the next sessions, as of a day.

    Attributes:
        day: the as-of day.
        positions: in the order of their symbols.
        scenarios: how many past sessions there are of which all of them have a residual.
        first, last: the first and the last of them.
        fan: [HORIZON, FAN] quantiles of the gains.
        tails: by horizon those of LEVELS.
        stretches: by length the worst past ones.
        judged_days: days that the backtest looks at.
        backtests: of one session ahead, by level.
    """

    day: pd.Timestamp
    positions: list[Position]
    scenarios: int
    first: date
    last: date
    fan: Floats
    tails: Mapping[int, list[Tail]]
    stretches: Mapping[int, list[Stretch]]
    judged_days: int
    backtests: list[Backtest]

    @property
    def value(self) -> float:
        """Of all positions, shorts being negative."""
        return sum(position.value for position in self.positions)


def judged(risk: PortfolioRisk) -> list[str]:
    """What the backtest found, in sentences."""
    if not risk.backtests:
        return ["Not judged: no earlier day has a forecast of all holdings whose next session is known."]
    found = []
    for one in risk.backtests:
        test = one.test
        shortfall = (
            ""
            if test.misses == 0
            else f" The losses of those days were {one.shortfall_ratio:.2f} times their "
            f"expected shortfall (Acerbi-Székely p {one.shortfall_p:.2f})."
        )
        found.append(
            f"Value at risk {100 * one.level:g} %, one session ahead, was exceeded on {test.misses} of {test.n} days; "
            f"{one.level * test.n:.1f} are promised (Kupiec p {test.kupiec_p:.2f}, Christoffersen p "
            f"{test.christoffersen_p:.2f}).{shortfall}"
        )
    return found


def document(risk: PortfolioRisk, unit: str | None) -> dict[str, Any]:
    """The same as JSON knows it."""
    return {
        "as_of": f"{risk.day:%Y-%m-%d}",
        "unit": unit,
        "value": risk.value,
        "scenarios": {"sessions": risk.scenarios, "from": risk.first.isoformat(), "to": risk.last.isoformat()},
        "horizons": [
            {
                "horizon": horizon,
                "gain": {f"p{round(100 * q):02d}": float(v) for q, v in zip(FAN, risk.fan[horizon - 1], strict=True)},
                "tails": [one._asdict() for one in tails],
            }
            for horizon, tails in risk.tails.items()
        ],
        "positions": [
            {
                "ticker": one.ticker,
                "quantity": one.quantity,
                "close": one.close,
                "value": one.value,
                **{
                    name: [
                        {"horizon": horizon, "level": level, "contribution": share}
                        for (horizon, level), share in shares.items()
                    ]
                    for name, shares in (("value_at_risk", one.at_risk), ("expected_shortfall", one.shortfall))
                },
            }
            for one in risk.positions
        ],
        "worst_stretches": [
            {"sessions": length, "from": str(one.first), "to": str(one.last), "gain": one.gain}
            for length, stretches in risk.stretches.items()
            for one in stretches
        ],
        "backtest": {
            "days": risk.judged_days,
            "levels": [
                {
                    "level": one.level,
                    "exceeded": one.test.misses,
                    "kupiec_p": one.test.kupiec_p,
                    "christoffersen_p": one.test.christoffersen_p,
                    "loss_over_shortfall": _known(one.shortfall_ratio),
                    "shortfall_z": _known(one.shortfall_z),
                    "shortfall_p": _known(one.shortfall_p),
                }
                for one in risk.backtests
            ],
        },
        "what_it_is": WHAT_IT_IS,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
