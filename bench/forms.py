"""What the form of a forecast is worth: the quantiles of returns over sigma, a ticker's own and those of all tickers.

python bench/forms.py --bars bars.csv.gz --earnings reports.csv --from 2010-01-01 --to 2012-12-31
python bench/forms.py --from 2004-01-01 --to 2008-12-31       # the sample's tickers

The sigma is that of what the networks start from, refitted each January on all tickers, so it takes seconds. Every form
is learnt from the sessions before; losses are over those of each ticker's own form.
"""

import numpy as np
import pandas as pd
from beyond import all_years, loss_of, parser_of_days
from universe import bars_and_reports, placed

from stockcast_assets.forecasting.config import HORIZON, QUANTILES
from stockcast_assets.forecasting.evaluation.gate import Ratio
from stockcast_assets.forecasting.universe.contenders import PRIOR_MEDIAN, PRIOR_SPREAD, shrunk
from stockcast_assets.forecasting.universe.earnings import plain
from stockcast_assets.forecasting.universe.inputs import Series
from stockcast_assets.forecasting.universe.start import shape_of
from stockcast_assets.forecasting.universe.training import prepare_training
from stockcast_assets.market.indicators import Floats

OWN, OF_ALL = "the ticker's own", "that of all tickers"
PRIORS = {
    "all of it shrunk by 1,000 sessions": (1000.0, 1000.0),
    "as it is: the median by 4,000, the spread by 1,000": (PRIOR_MEDIAN, PRIOR_SPREAD),
    "the spread alone": (0.0, PRIOR_SPREAD),
    "the median alone": (PRIOR_MEDIAN, 0.0),
}
"""Sessions that the form of all tickers counts as: its median, and the spread around it."""


def near_report(series: Series, rows: np.ndarray) -> np.ndarray:
    """[n, HORIZON] whether a report is near the sessions up to each horizon."""
    return np.cumsum(np.abs(plain(series.offsets[rows])) <= 1, axis=1) > 0


def third(series: Series, rows: np.ndarray) -> np.ndarray:
    """[n, HORIZON] in which third of its past volatility a ticker is: below, about or above what HAR's windows say."""
    calm = series.history.har[rows, 2] - series.history.har[rows, 4]
    return np.repeat(np.digitize(calm, (-0.4, 0.2))[:, None], HORIZON, axis=1)


STATES = {"one more near reports": near_report, "one more for calm, usual and wild weeks": third}


def difference(some: Floats, every: Floats) -> Floats:
    """[quantiles] of some returns over sigma less those of all; none where there are none."""
    return (np.quantile(some, QUANTILES) if len(some) else every) - every


def main() -> None:
    parser = parser_of_days(__doc__)
    arguments = parser.parse_args()
    series, _ = placed(*bars_and_reports(arguments.bars, arguments.earnings))
    found: dict[str, list[pd.Series]] = {}
    for year in all_years({t: one.history for t, one in series.items()}, arguments.first, arguments.last):
        folds = year.taught
        prepared = prepare_training({ticker: series[ticker] for ticker in folds}, folds)
        of_all = prepared.pooled.shape
        assert of_all is not None
        known = {t: prepared.starts[t].sigma(series[t], fold.known) for t, fold in folds.items()}
        standardised = {t: series[t].history.targets[fold.known] / known[t] for t, fold in folds.items()}
        every = np.quantile(np.concatenate([values.ravel() for values in standardised.values()]), QUANTILES)
        beside = {}
        for name, state in STATES.items():
            where = {t: state(series[t], fold.known) for t, fold in folds.items()}
            beside[name] = [
                difference(np.concatenate([standardised[t][where[t] == one] for t in folds]), every) for one in range(3)
            ]
        for ticker, fold in year.judged.items():
            one, sigma = series[ticker], prepared.starts[ticker].sigma(series[ticker], fold.test)
            own = shape_of(one, fold.known, known[ticker])
            between = {name: shrunk(own, of_all, len(fold.known), *priors) for name, priors in PRIORS.items()}
            for name, form in {OWN: own, **between, OF_ALL: of_all}.items():
                found.setdefault(name, []).append(loss_of(one, fold, sigma[:, :, None] * form))
            for name, state in STATES.items():
                moved = np.array(beside[name])[state(one, fold.test).astype(int)]
                found.setdefault(name, []).append(
                    loss_of(one, fold, np.sort(sigma[:, :, None] * (own + moved), axis=2))
                )
    by_day = {name: pd.concat(parts).groupby(level=0).mean().to_numpy() for name, parts in found.items()}
    print(f"{len(series)} tickers, {len(by_day[OWN])} days; pinball loss over that of {OWN} form")
    for name, losses in by_day.items():
        print(f"{name:52} {Ratio.of_losses(losses, by_day[OWN])}")


if __name__ == "__main__":
    main()
