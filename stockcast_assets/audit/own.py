"""What stockcast computes without Dagster, as subjects of the audit: features, and contenders fitted and asked."""

from __future__ import annotations

from stockcast_assets.audit.mine import Mine, load
from stockcast_assets.forecasting.config import HORIZON, QUANTILES
from stockcast_assets.forecasting.features import History, prepare
from stockcast_assets.forecasting.features import features as of_ticker
from stockcast_assets.forecasting.models.baselines import Contender, fit_naive
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.adjust import with_total_return

_ENOUGH, _LEARNT = 260, 120
"""Sessions before the first features, and rows from which the naive contenders can be fitted."""


def features(bars: pd.DataFrame) -> pd.DataFrame:
    """What the network sees of every ticker, see `forecasting.features`, from the session on that has all of it."""
    own = with_total_return(bars).groupby("ticker", sort=True)
    long = {ticker: of_ticker(part).iloc[_ENOUGH:] for ticker, part in own if len(part) > _ENOUGH}
    return pd.concat(long, names=["ticker"])


class Contenders:
    """Every naive contender of every ticker."""

    def fit(self, bars: pd.DataFrame) -> None:
        """On the bars of each ticker that has enough."""
        self._fitted: dict[str, dict[str, Contender]] = {}
        self._last = bars["date"].max()
        for ticker, history in _histories(bars).items():
            rows = np.arange(history.first_row, len(history) - HORIZON)
            if len(rows) > _LEARNT:
                self._fitted[ticker] = dict(fit_naive(history, rows))

    def predict(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Quantiles as of every later session: columns `contender.horizon.quantile`."""
        found = []
        for ticker, history in _histories(bars).items():
            rows = np.flatnonzero(history.dates > self._last)
            if ticker not in self._fitted or not len(rows):
                continue
            said = {
                f"{name}.{1 + horizon}.{level:.0%}": quantiles[:, horizon, place]
                for name, contender in self._fitted[ticker].items()
                for quantiles in [contender.predict(history, rows).quantiles]
                for horizon in (0, HORIZON - 1)
                for place, level in enumerate(QUANTILES)
            }
            found.append(pd.DataFrame({"ticker": ticker, "date": history.dates[rows], **said}))
        return pd.concat(found, ignore_index=True)


def _histories(bars: pd.DataFrame) -> dict[str, History]:
    own = with_total_return(bars).groupby("ticker", sort=True)
    return {str(ticker): prepare(part) for ticker, part in own if len(part) > _ENOUGH}


def subjects() -> dict[str, Mine]:
    """They, by the names under which the command has them."""
    return {name: load(f"{__name__}:{name.capitalize() if name == 'contenders' else name}") for name in NAMES}


NAMES = ("features", "contenders")
