"""How much of what is published is luck: false promotions where no model is better, and what rules of choice are worth.

python bench/luck.py                                                        # the sample's tickers, 2004-2013
python bench/luck.py --bars bars.csv.gz --earnings reports.csv --from 2007-01-01 --to 2017-12-31

The network is refitted each January on all tickers, as in an evaluation. *Universes without a better model*: its daily
losses are moved until their mean is that of the ticker's best baseline, and blocks of days are drawn again, the same
for all tickers. Every promotion is then false. *Rules*: each month a rule sees the losses since the January three years
before, as the gate does, and what it chooses is scored in the month.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtr
from universe import bars_and_reports

from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.evaluation.scores import Cases, diebold_mariano, pinball_losses, ratio_interval
from stockcast_assets.forecasting.universe.walkforward import walk_forward_universe
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import HAR, LSTM, MIX_EARNINGS, ORACLE

GATE = "lowest pinball, as the gate"
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


GATES: Mapping[str, Callable[[Floats, np.ndarray], np.ndarray]] = {
    GATE: lambda p, lowest: lowest,
    f"each baseline beaten at {LEVEL:.0%}": lambda p, lowest: p <= LEVEL,
    f"that, by Benjamini-Hochberg at {LEVEL:.0%}": lambda p, lowest: benjamini_hochberg(p),
}


def without_a_better_model(losses: Mapping[str, pd.DataFrame], draws: int) -> pd.DataFrame:
    """How often each gate promotes: share of the tickers, and of the universes with a promotion at all."""
    days = pd.DatetimeIndex(sorted(set.intersection(*(set(of.index) for of in losses.values()))))
    worlds = []
    for of in losses.values():
        baselines = of.loc[days].drop(columns=LSTM)
        ours = of.loc[days, LSTM]
        worlds.append(np.column_stack([ours - ours.mean() + baselines.mean().min(), baselines]))
    rng, promoted = np.random.default_rng(0), {name: [] for name in GATES}
    for _ in range(draws):
        starts = rng.integers(0, len(days), -(-PROOF_SESSIONS // BLOCK))
        drawn = (starts[:, None] + np.arange(BLOCK)).ravel()[:PROOF_SESSIONS] % len(days)
        seen = [world[drawn] for world in worlds]
        lowest = np.array([one[:, 0].mean() < one[:, 1:].mean(axis=0).min() for one in seen])
        p_values = np.array([better_by(one[:, 0], one[:, 1:]).max() for one in seen])
        for name, gate in GATES.items():
            promoted[name].append(gate(p_values, lowest))
    return pd.DataFrame(
        {
            "tickers promoted": {name: np.mean(found) for name, found in promoted.items()},
            "universes with a promotion": {
                name: np.mean([one.any() for one in found]) for name, found in promoted.items()
            },
        }
    )


def chosen(seen: pd.DataFrame) -> dict[str, list[str]]:
    """What each rule publishes after these losses: the contenders whose quantiles are averaged."""
    sums = seen.sum()
    lowest, baselines = str(sums.idxmin()), [name for name in seen if name != LSTM]
    best = str(sums[baselines].idxmin())
    p_value = better_by(seen[LSTM].to_numpy(), seen[baselines].to_numpy()).max()
    others = [name for name in seen if name != lowest]
    worse = better_by(seen[lowest].to_numpy(), seen[others].to_numpy()) <= LEVEL
    return {
        GATE: [lowest],
        f"network if each baseline is beaten at {LEVEL:.0%}, else the lowest": [LSTM if p_value <= LEVEL else best],
        f"average of all that are not worse than the lowest at {LEVEL:.0%}": [
            lowest, *(name for name, is_worse in zip(others, worse, strict=True) if not is_worse),
        ],
        "average of the network and its start": [LSTM, MIX_EARNINGS],
    }  # fmt: skip


def rules(cases: Mapping[str, Cases], losses: Mapping[str, pd.DataFrame], first: pd.Timestamp) -> pd.DataFrame:
    """Pinball loss of what each rule published, and of each contender alone, over HAR's and over the gate's, with the
    95 % interval of the latter; tickers weigh alike."""
    parts = []
    for ticker, of in losses.items():
        one, weight = cases[ticker], 1 / of.loc[first:, HAR].mean()
        for month in pd.date_range(first, of.index[-1], freq="MS"):
            until = month + pd.offsets.MonthBegin(1)
            window = of[(of.index >= pd.Timestamp(month.year - YEARS, 1, 1)) & (of.index < month)].iloc[:-HORIZON]
            rows = np.flatnonzero((of.index >= month) & (of.index < until))
            if len(window) < PROOF_SESSIONS // 2 or not len(rows):
                continue
            published = {}
            for name, members in {**chosen(window), **{name: [name] for name in of}}.items():
                mean = np.mean([one.forecasts[member].quantiles[rows] for member in members], axis=0)
                published[name] = weight * pinball_losses(one.targets[rows], mean).mean(axis=(1, 2))
            parts.append(pd.DataFrame(published, index=of.index[rows]))
    daily = pd.concat(parts).groupby(level=0).sum()
    found = {name: (daily[name].sum() / daily[HAR].sum(), *_over(daily[name], daily[GATE])) for name in daily}
    table = pd.DataFrame(found, index=["/ HAR", "/ gate", "low", "high"]).T
    return table.sort_values("/ HAR")


def _over(ours: pd.Series, theirs: pd.Series) -> tuple[float, float, float]:
    one, other = ours.to_numpy(), theirs.to_numpy()
    return float(one.sum() / other.sum()), *ratio_interval(one, other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=Path, help="CSV file of bars; the sample if it is not given")
    parser.add_argument("--earnings", type=Path, help="CSV file of their reports")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=date(2004, 1, 1))
    parser.add_argument("--to", dest="last", type=date.fromisoformat, default=date(2013, 2, 14))
    parser.add_argument("--draws", type=int, default=300, help="universes without a better model")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    bars, reports = bars_and_reports(arguments.bars, arguments.earnings)
    walk = walk_forward_universe(bars, reports, arguments.first, arguments.last, workers=arguments.workers)
    losses = {
        ticker: pd.DataFrame(
            {
                name: pinball_losses(one.targets, forecast.quantiles).mean(axis=(1, 2))
                for name, forecast in one.forecasts.items()
                if name != ORACLE
            },
            index=one.dates,
        )
        for ticker, one in walk.cases.items()
    }
    print(f"Universes of {len(losses)} tickers in which the network is as good as each ticker's best baseline:")
    print(without_a_better_model(losses, arguments.draws).to_string(float_format="{:.3f}".format))
    first = pd.Timestamp(arguments.first) + pd.DateOffset(years=YEARS)
    print(f"\nPinball loss of what was published from {first:%Y-%m} on, over HAR's and over the gate's:")
    print(rules(walk.cases, losses, first).to_string(float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
