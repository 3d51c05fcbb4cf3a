"""The risk of holdings, of what is stored: read once, computed by `forecasting.risk`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.risk.portfolio import (
    LEVELS,
    Backtest,
    Holding,
    Stretch,
    Tail,
    backtest,
    contributions,
    gains_of,
    tail,
    worst_stretches,
)
from stockcast_assets.forecasting.risk.scenarios import FEWEST, Days, Residuals, as_day, draws, sessions_drawn, unpacked
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats
from stockcast_assets.orchestration.assets.scenarios import histories_of, published
from stockcast_assets.tables import FORECASTS, SCENARIOS
from stockcast_assets.warehouse import Warehouse

FAN = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99)
"""Quantiles of the gains that are shown."""

BACKTEST_DAYS = 400
"""Calendar days before the as-of day of which forecasts are judged: about 270 sessions."""

STRETCHES = {1: 5, HORIZON: 5}
"""Lengths of past stretches, in sessions, and how many of each are shown."""

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
        shortfall: by horizon and level what it adds to the expected shortfall of all positions.
    """

    ticker: str
    quantity: float
    close: float
    value: float
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


def risk_of(warehouse: Warehouse, quantities: Mapping[str, float], until: date | None = None) -> PortfolioRisk:
    """The risk of holdings as of the newest day, up to `until`, of which all their tickers have a forecast.

    A function of what was known at the end of that day.

    Args:
        warehouse: where forecasts and bars are.
        quantities: by ticker, negative where short; at least one.
        until: None for the newest.

    Raises:
        StockcastError: if a ticker is unknown, has no forecast, or too short a past beside the others.
    """
    tickers = sorted(quantities)
    day = _common_day(warehouse, tickers, until)
    first = day.date() - timedelta(days=BACKTEST_DAYS)
    said = published(warehouse, tickers, first, day.date())
    histories = histories_of(warehouse, tickers, day.date())
    past = {ticker: Residuals.of(histories[ticker]) for ticker in tickers}
    sessions, drawn = _drawn(warehouse, past, {ticker: said[ticker, day] for ticker in tickers}, day)
    closes = {ticker: float(histories[ticker].close[-1]) for ticker in tickers}
    values = {ticker: quantities[ticker] * closes[ticker] for ticker in tickers}
    gains = np.stack([gains_of(values[ticker], drawn[ticker]) for ticker in tickers])
    total = gains.sum(axis=0)
    tails = {1 + place: [tail(total[:, place], level) for level in LEVELS] for place in range(HORIZON)}
    shares = {
        (horizon, level): contributions(gains[:, :, horizon - 1], level) for horizon in (1, HORIZON) for level in LEVELS
    }
    positions = [
        Position(
            ticker,
            quantities[ticker],
            closes[ticker],
            values[ticker],
            {key: float(share[place]) for key, share in shares.items()},
        )
        for place, ticker in enumerate(tickers)
    ]
    prices = {ticker: (_days(histories[ticker]), histories[ticker].log_close) for ticker in tickers}
    stretches = {length: worst_stretches(values, prices, length, most) for length, most in STRETCHES.items()}
    judged, backtests = backtest(
        {ticker: _holding(ticker, quantities[ticker], histories[ticker], past[ticker], said) for ticker in tickers}
    )
    return PortfolioRisk(
        day, positions, len(sessions), sessions[0].item(), sessions[-1].item(),
        np.quantile(total, FAN, axis=0).T, tails, stretches, len(judged), backtests,
    )  # fmt: skip


def _common_day(warehouse: Warehouse, tickers: list[str], day: date | None) -> pd.Timestamp:
    made = warehouse.read(FORECASTS, tickers=tickers, end=day, columns=["ticker", "date"]).drop_duplicates()
    days = {str(ticker): set(part["date"]) for ticker, part in made.groupby("ticker")}
    when = "" if day is None else f" up to {day}"
    for ticker in tickers:
        if ticker not in days:
            remedy = f"`stockcast forecast {ticker}`" if day is None else f"`stockcast forecast {ticker} {day}`"
            raise StockcastError(f"{ticker} has no forecast{when}: make it with {remedy}, or leave its line out.")
    common = set.intersection(*days.values())
    if not common:
        newest = ", ".join(f"{ticker} {max(days[ticker]):%Y-%m-%d}" for ticker in tickers[:3])
        raise StockcastError(
            f"There is no day{when} of which all holdings have a forecast (the newest: {newest}): make those of one "
            f"day with `stockcast forecast {' '.join(tickers)} {max(max(own) for own in days.values()):%Y-%m-%d}`."
        )
    return pd.Timestamp(max(common))


def _drawn(
    warehouse: Warehouse, past: Mapping[str, Residuals], said: Mapping[str, Floats], day: pd.Timestamp
) -> tuple[Days, dict[str, Floats]]:
    """The scenarios in which all tickers have a residual: their sessions, and [n, HORIZON] returns by ticker."""
    now = as_day(day)
    recorded = warehouse.read(SCENARIOS, start=day.date(), end=day.date(), columns=["sessions"])["sessions"]
    sessions = unpacked(recorded.iloc[0]) if len(recorded) else sessions_drawn(past.values(), now)
    drawn = {ticker: draws(past[ticker], sessions, said[ticker], now) for ticker in past}
    there = {ticker: np.isfinite(returns[:, -1]) for ticker, returns in drawn.items()}
    complete: Any = np.logical_and.reduce(list(there.values()))
    if complete.sum() < FEWEST:
        fewest = min(there, key=lambda ticker: int(there[ticker].sum()))
        raise StockcastError(
            f"The holdings have {int(complete.sum())} past sessions in common of which ten more were known on "
            f"{day:%Y-%m-%d}, and {FEWEST} are needed; {fewest} has {int(there[fewest].sum())}: leave its line out."
        )
    return sessions[complete], {ticker: returns[complete] for ticker, returns in drawn.items()}


def _days(history: Any) -> Days:
    days: Days = history.dates.to_numpy().astype("datetime64[D]")
    return days


def _holding(
    ticker: str,
    quantity: float,
    history: Any,
    residuals: Residuals,
    said: Mapping[tuple[str, pd.Timestamp], Floats],
) -> Holding:
    days = [day for of_ticker, day in said if of_ticker == ticker]
    rows = history.dates.get_indexer(days)
    values, happened = {}, {}
    for day, row in zip(days, rows, strict=True):
        if 0 <= row < len(history) - 1:
            values[as_day(day)] = quantity * float(history.close[row])
            happened[as_day(day)] = float(history.log_close[row + 1] - history.log_close[row])
    return Holding(residuals, {as_day(day): said[ticker, day][0] for day in days}, values, happened)


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
            f"Value at risk {one.level:.0%}, one session ahead, was exceeded on {test.misses} of {test.n} days; "
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
                "expected_shortfall": [
                    {"horizon": horizon, "level": level, "contribution": share}
                    for (horizon, level), share in one.shortfall.items()
                ],
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
