"""What boosted trees add to the networks of the universe: the geometric mean of both sigmas, by the trees' share.

python bench/combined.py --bars bars.csv.gz --earnings reports.csv --from 2010-01-01 --to 2012-12-31

Both are refitted each January on all tickers, on the same inputs beside the same start, and take the same form. Losses
are over those of the networks alone, of all horizons and of each. Nothing is calibrated.
"""

import os
from functools import partial

import numpy as np
import pandas as pd
from beyond import all_years, averaged, parser_of_days
from universe import bars_and_reports, placed

from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.evaluation.gate import Ratio
from stockcast_assets.forecasting.evaluation.scores import pinball_losses
from stockcast_assets.forecasting.training.workers import training_pool
from stockcast_assets.forecasting.universe.boosting import fit_boosted
from stockcast_assets.forecasting.universe.contenders import quantiles_over
from stockcast_assets.forecasting.universe.training import model_of, prepare_training, submit
from stockcast_assets.market.indicators import Floats

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    parser = parser_of_days(__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="fits of the trees that are averaged")
    arguments = parser.parse_args()
    series, _ = placed(*bars_and_reports(arguments.bars, arguments.earnings))
    years = all_years({t: one.history for t, one in series.items()}, arguments.first, arguments.last)
    prepared = [prepare_training({t: series[t] for t in year.taught}, year.taught) for year in years]
    with training_pool(os.cpu_count() or 1) as pool:
        begun = [submit(pool, of_year) for of_year in prepared]
        models = [
            model_of(of_year, [future.result()[0] for future in futures])
            for of_year, futures in zip(prepared, begun, strict=True)
        ]
    losses: dict[float, list[pd.DataFrame]] = {share: [] for share in SHARES}
    for year, of_year, model in zip(years, prepared, models, strict=True):
        trees = [fit_boosted(of_year, seed) for seed in range(1, arguments.seeds + 1)]
        for ticker, fold in year.judged.items():
            one, start = series[ticker], of_year.starts[ticker]
            networks, boosted = partial(model.sigma, one, start), partial(averaged, trees, one, start)
            known, test = ((networks(rows), boosted(rows)) for rows in (fold.known, fold.test))
            for share in SHARES:
                on_known, on_test = (a ** (1 - share) * b**share for a, b in (known, test))
                quantiles = on_test[:, :, None] * quantiles_over(one, fold.known, on_known, model.pooled.shape)
                losses[share].append(
                    by_horizon(one.history.targets[fold.test], quantiles, one.history.dates[fold.test])
                )
    by_day = {share: pd.concat(parts).groupby(level=0).mean().to_numpy() for share, parts in losses.items()}
    alone = by_day[0.0]
    print(f"{len(series)} tickers, {len(alone)} days; pinball loss over that of the networks alone")
    for share in SHARES[1:]:
        every = Ratio.of_losses(by_day[share].mean(axis=1), alone.mean(axis=1))
        each = " ".join(f"{ratio:.4f}" for ratio in by_day[share].mean(axis=0) / alone.mean(axis=0))
        print(f"trees' share {share:.2f}: {every}; sessions ahead 1..{HORIZON}: {each}")
    best = np.min([of_share.mean(axis=0) for of_share in by_day.values()], axis=0)
    print(f"each horizon by the share that was best for it, in hindsight: {best.sum() / alone.mean(axis=0).sum():.4f}")


def by_horizon(targets: Floats, quantiles: Floats, days: pd.DatetimeIndex) -> pd.DataFrame:
    """[days, HORIZON] pinball loss, the mean over quantiles."""
    return pd.DataFrame(pinball_losses(targets, quantiles).mean(axis=2), index=days)


if __name__ == "__main__":
    main()
