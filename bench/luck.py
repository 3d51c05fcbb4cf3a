"""How much of what is published is luck: false promotions where no model is better, and what rules of choice are worth.

python bench/luck.py                                                        # the sample's tickers, 2004-2013
python bench/luck.py --bars bars.csv.gz --earnings reports.csv --from 2010-01-01 --to 2017-12-31

The network is refitted each January on all tickers, as in an evaluation. *Universes without a better model*: its daily
losses are moved until their mean is that of the ticker's best baseline, and blocks of days are drawn again, the same
for all tickers. Every promotion is then false. *Rules*: each month a rule sees the losses since the January three years
before, as the gate does, and what it chooses is scored in the month.
"""

import os
from collections.abc import Mapping
from dataclasses import astuple
from datetime import date

import numpy as np
import pandas as pd
from scipy.special import stdtr
from universe import bars_and_reports, parser_of_files

from stockcast_assets.forecasting.config import HORIZON, MEDIAN
from stockcast_assets.forecasting.evaluation.gate import MIN_CASES, Ratio, decide, pool
from stockcast_assets.forecasting.evaluation.scores import (
    Cases,
    Evaluation,
    daily_losses,
    diebold_mariano,
)
from stockcast_assets.forecasting.universe.walkforward import walk_forward_universe
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import AVERAGE, HAR, LSTM, MIX_EARNINGS, NAIVE_PREFIX, OF_NETWORK, ORACLE

GATE, LOWEST = "the gate", "lowest pinball loss"
LEVEL = 0.1
"""Of the tests, and the share of false promotions that Benjamini and Hochberg (1995) allow."""

PROOF_SESSIONS, BLOCK, YEARS = 756, 40, 3


def better_by(losses: Floats, others: Floats) -> Floats:
    """[others] one-sided p-values that `losses` [days] are lower than each of `others` [days, others]."""
    found = [diebold_mariano(losses - other, HORIZON)[0] for other in others.T]
    return np.array(stdtr(len(losses) - 1, np.array(found)))


def benjamini_hochberg(p_values: Floats, level: float = LEVEL) -> np.ndarray:
    """Which of them are rejected."""
    order = np.sort(p_values)
    passed = np.flatnonzero(order <= level * np.arange(1, len(order) + 1) / len(order))
    return p_values <= (order[passed[-1]] if len(passed) else -1.0)


def promotions(seen: Mapping[str, pd.DataFrame]) -> dict[str, np.ndarray]:
    """By rule, for which tickers the network is promoted after these losses."""
    baselines = {ticker: of.drop(columns=list(OF_NETWORK)) for ticker, of in seen.items()}
    lowest = np.array([of[LSTM].mean() < baselines[ticker].mean().min() for ticker, of in seen.items()])
    p_values = np.array(
        [better_by(of[LSTM].to_numpy(), baselines[ticker].to_numpy()).max() for ticker, of in seen.items()]
    )
    return {
        LOWEST: lowest,
        f"each baseline beaten at {LEVEL:.0%}": p_values <= LEVEL,
        f"that, by Benjamini-Hochberg at {LEVEL:.0%}": benjamini_hochberg(p_values),
        f"{GATE}: shown over all tickers": np.full(len(seen), pool(seen, MIX_EARNINGS).admitted == LSTM),
    }


def without_a_better_model(losses: Mapping[str, pd.DataFrame], draws: int) -> pd.DataFrame:
    """How often each rule promotes: share of the tickers, and of the universes with a promotion at all."""
    days = pd.DatetimeIndex(sorted(set.intersection(*(set(of.index) for of in losses.values()))))
    worlds = {}
    for ticker, of in losses.items():
        world = of.loc[days]
        best = world.drop(columns=list(OF_NETWORK)).mean().min()
        worlds[ticker] = world.assign(**{LSTM: world[LSTM] - world[LSTM].mean() + best})
    rng, promoted = np.random.default_rng(0), []
    for _ in range(draws):
        starts = rng.integers(0, len(days), -(-PROOF_SESSIONS // BLOCK))
        drawn = (starts[:, None] + np.arange(BLOCK)).ravel()[:PROOF_SESSIONS] % len(days)
        promoted.append(
            promotions({ticker: world.iloc[drawn].reset_index(drop=True) for ticker, world in worlds.items()})
        )
    return pd.DataFrame(
        {
            "tickers promoted": {name: np.mean([one[name] for one in promoted]) for name in promoted[0]},
            "universes with a promotion": {
                name: np.mean([one[name].any() for one in promoted]) for name in promoted[0]
            },
        }
    )


def gated(seen: Mapping[str, pd.DataFrame], squared: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """What the gate publishes of each ticker after these losses."""
    admitted, found = pool(seen, MIX_EARNINGS).admitted, {}
    for ticker, of in seen.items():
        errors = {name: squared[ticker].loc[of.index, name].to_numpy() for name in of}
        pinball = {name: of[name].to_numpy() for name in of}
        judged = Evaluation(pd.DatetimeIndex(of.index), np.ones(len(of)), errors, pinball, np.empty((0, 0)))
        found[ticker] = decide(judged, start=MIX_EARNINGS, admitted=admitted).method.removeprefix(NAIVE_PREFIX)
    return found


def rules(
    losses: Mapping[str, pd.DataFrame], squared: Mapping[str, pd.DataFrame], first: pd.Timestamp
) -> tuple[pd.DataFrame, pd.Series]:
    """Pinball loss of what each rule and each contender alone published, over HAR's and over the gate's, with the 95 %
    interval of the latter; tickers weigh alike. And of how many months of a ticker the gate published what."""
    parts, chosen = [], []
    for month in pd.date_range(first, max(of.index[-1] for of in losses.values()), freq="MS"):
        seen = {
            ticker: of[(of.index >= pd.Timestamp(month.year - YEARS, 1, 1)) & (of.index < month)].iloc[:-HORIZON]
            for ticker, of in losses.items()
        }
        seen = {ticker: of for ticker, of in seen.items() if len(of) >= MIN_CASES}
        by_gate = gated(seen, squared)
        for ticker, window in seen.items():
            of = losses[ticker]
            part = of[(of.index >= month) & (of.index < month + pd.offsets.MonthBegin(1))] / of.loc[first:, HAR].mean()
            lowest = str(window.drop(columns=AVERAGE).sum().idxmin())
            parts.append(part.assign(**{GATE: part[by_gate[ticker]], LOWEST: part[lowest]}))
            chosen.append(by_gate[ticker])
    daily = pd.concat(parts).groupby(level=0).sum()
    found = {name: (daily[name].sum() / daily[HAR].sum(), *astuple(_over(daily[name], daily[GATE]))) for name in daily}
    table = pd.DataFrame(found, index=["/ HAR", "/ gate", "low", "high"]).T
    return table.sort_values("/ HAR"), pd.Series(chosen).value_counts()


def _over(ours: pd.Series, theirs: pd.Series) -> Ratio:
    return Ratio.of_losses(ours.to_numpy(), theirs.to_numpy())


def squared_errors(cases: Cases) -> pd.DataFrame:
    """[days, contenders] squared error of the medians, summed over the horizons."""
    found = {
        name: ((cases.targets - forecast.quantiles[:, :, MEDIAN]) ** 2).sum(axis=1)
        for name, forecast in cases.forecasts.items()
    }
    return pd.DataFrame(found, index=cases.dates)


def main() -> None:
    parser = parser_of_files(__doc__)
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=date(2004, 1, 1))
    parser.add_argument("--to", dest="last", type=date.fromisoformat, default=date(2013, 2, 14))
    parser.add_argument("--draws", type=int, default=300, help="universes without a better model")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    bars, reports = bars_and_reports(arguments.bars, arguments.earnings)
    walk = walk_forward_universe(bars, reports, arguments.first, arguments.last, workers=arguments.workers)
    losses, squared = (
        {ticker: of(one).drop(columns=ORACLE) for ticker, one in walk.cases.items()}
        for of in (daily_losses, squared_errors)
    )
    print(f"Universes of {len(losses)} tickers in which the network is as good as each ticker's best baseline:")
    print(without_a_better_model(losses, arguments.draws).to_string(float_format="{:.3f}".format))
    first = pd.Timestamp(arguments.first) + pd.DateOffset(years=YEARS)
    table, chosen = rules(losses, squared, first)
    print(f"\nPinball loss of what was published from {first:%Y-%m} on, over HAR's and over the gate's:")
    print(table.to_string(float_format="{:.4f}".format))
    print("\nMonths of a ticker by what the gate published:")
    print(chosen.to_string())


if __name__ == "__main__":
    main()
