"""The evaluation protocol for the universe's network: yearly refits over all tickers, the same cases for everyone.

Beside the network stand the steps it is built from, so that each can be seen to add something, and an oracle that is
told the variance to come: what there is to win at all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, ModelConfig
from stockcast_assets.forecasting.evaluation.scores import (
    Fold,
    first_origin,
    fold_before,
    pinball_losses,
    rows_of_year,
)
from stockcast_assets.forecasting.evaluation.walkforward import DEFAULT_YEARS, Progress, WalkForward
from stockcast_assets.forecasting.features import History, prepare
from stockcast_assets.forecasting.models.garch import fit_garch
from stockcast_assets.forecasting.models.statistical import require_stats
from stockcast_assets.forecasting.models.volatility import steps as session_steps
from stockcast_assets.forecasting.training.workers import training_pool
from stockcast_assets.forecasting.universe.boosting import Boosted, fit_boosted
from stockcast_assets.forecasting.universe.contenders import fit_own, quantiles_over
from stockcast_assets.forecasting.universe.earnings import Reports
from stockcast_assets.forecasting.universe.inputs import Series, series_of
from stockcast_assets.forecasting.universe.market import market_of
from stockcast_assets.forecasting.universe.network import UniverseModel
from stockcast_assets.forecasting.universe.proof import fold_quantiles, joined_cases
from stockcast_assets.forecasting.universe.start import Start, future_variance
from stockcast_assets.forecasting.universe.training import Prepared, model_of, prepare_training, submit
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import GJR_GARCH, HAR, LIGHTGBM, LSTM, MIX, MIX_EARNINGS, ORACLE, RANDOM_WALK

STEPS_OF_VALUE = (RANDOM_WALK, HAR, MIX, MIX_EARNINGS, LSTM)
"""Each is the one before and something more: volatility, the market, the reports, the network."""

_TOLD = tuple(tenth / 10 for tenth in range(11))


@dataclass(frozen=True)
class Year:
    """A fit: the folds of the tickers that are judged in a year, and of those that teach it."""

    judged: dict[str, Fold]
    taught: dict[str, Fold]


def walk_forward_universe(
    bars: Mapping[str, pd.DataFrame],
    reports: Mapping[str, Reports],
    start: date | None,
    end: date,
    *,
    train_on: Collection[str] | None = None,
    judge: Collection[str] | None = None,
    statistical: bool = False,
    config: ModelConfig | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> WalkForward:
    """Judge the universe's network on every session of every ticker from `start` to `end` whose outcomes are known.

    A ticker joins in the first year before which it has enough to learn a level and a shape from.

    Args:
        bars: per ticker all bars from its first stored one, HORIZON sessions beyond `end` if there are.
        reports: per ticker its earnings reports; a ticker may have none.
        start: first as-of day; January of DEFAULT_YEARS before the last one if None.
        end: last as-of day.
        train_on: the tickers that teach the network; all if None. The others are forecast by it all the same.
        judge: the tickers to judge; all if None.
        statistical: GJR-GARCH-t and pooled LightGBM as well.
        config: how the folds are cut.
        workers: training processes.
        progress: called after each fitted network.

    Raises:
        StockcastError: if there is no ticker to judge or to learn from, or the extra `stats` is asked for and missing.
    """
    if statistical:
        require_stats()
    if not bars:
        raise StockcastError("There is no ticker to evaluate: name at least one.")
    config = config or ModelConfig()
    histories = {ticker: prepare(bars[ticker]) for ticker in sorted(bars)}
    start = start or date(end.year - DEFAULT_YEARS, 1, 1)
    teachers = set(histories) if train_on is None else set(train_on)
    if unknown := sorted(teachers - set(histories)):
        raise StockcastError(f"There are no bars of {', '.join(unknown)}, which the network shall learn from.")
    series = series_of(histories, market_of({t: histories[t] for t in sorted(teachers)}), reports)
    asked = set(histories) if judge is None else set(judge)
    years = years_of(histories, teachers, asked, start, end, config)
    prepared = [prepare_training({t: series[t] for t in year.taught}, year.taught) for year in years]
    models = _fit(prepared, workers, progress)
    parts: dict[str, list[tuple[Fold, dict[str, Floats]]]] = {ticker: [] for ticker in histories}
    for year, of_year, model in zip(years, prepared, models, strict=True):
        boosted = fit_boosted(of_year) if statistical else None
        for ticker, fold in year.judged.items():
            parts[ticker].append((fold, _with_others(series[ticker], fold, model, boosted)))
    judged = {ticker: of_ticker for ticker, of_ticker in parts.items() if of_ticker}
    cases = {ticker: joined_cases(histories[ticker], of_ticker, config)[0] for ticker, of_ticker in judged.items()}
    return WalkForward(config, {ticker: len(of_ticker) for ticker, of_ticker in judged.items()}, cases)


def years_of(
    histories: Mapping[str, History],
    teachers: Collection[str],
    asked: Collection[str],
    start: date,
    end: date,
    config: ModelConfig,
) -> list[Year]:
    """The years from `start` to `end` in which somebody is judged.

    Raises:
        StockcastError: if there is none; the sentence names a day from which there is.
    """
    years = []
    for year in range(start.year, end.year + 1):
        folds = {}
        for ticker, history in histories.items():
            begin, stop = rows_of_year(history, year, start, end)
            if begin >= first_origin(history, config) and begin < len(history):
                first = history.first_row + config.window - 1
                test = np.arange(begin, max(begin, stop))
                folds[ticker] = fold_before(first, begin, test, config.validation_sessions)
        judged = {ticker: fold for ticker, fold in folds.items() if len(fold.test) and ticker in asked}
        taught = {ticker: fold for ticker, fold in folds.items() if ticker in teachers}
        if judged and taught:
            years.append(Year(judged, taught))
    if not years:
        raise StockcastError(
            f"No ticker has sessions from {start} to {end} with a past to learn from and {HORIZON} sessions after "
            f"them: {_what_can_be_judged(histories, asked, config)}."
        )
    return years


def _what_can_be_judged(histories: Mapping[str, History], asked: Collection[str], config: ModelConfig) -> str:
    """What to do where nothing asked for can be judged."""
    origins = {ticker: first_origin(histories[ticker], config) for ticker in asked}
    enough = [ticker for ticker, origin in origins.items() if origin < len(histories[ticker]) - HORIZON]
    if not enough:
        longest = max(asked, key=lambda ticker: len(histories[ticker]))
        return f"give longer histories than the {len(histories[longest])} sessions of {longest}"
    day, ticker = min((histories[ticker].dates[origins[ticker]].date(), ticker) for ticker in enough)
    return f"{ticker} can be judged from {day} on (--from {day})"


def _fit(prepared: Sequence[Prepared], workers: int, progress: Progress | None) -> list[UniverseModel]:
    with training_pool(workers) as pool:
        futures = [submit(pool, one) for one in prepared]
        total, done, fitted = sum(map(len, futures)), 0, []
        for one, of_one in zip(prepared, futures, strict=True):
            networks = []
            for future in of_one:
                networks.append(future.result()[0])
                done += 1
                if progress is not None:
                    progress("networks", done, total)
            fitted.append(model_of(one, networks))
    return fitted


def _with_others(series: Series, fold: Fold, model: UniverseModel, boosted: Boosted | None) -> dict[str, Floats]:
    """[n, HORIZON, quantiles] of every contender on the fold's test rows, and of those that are never published."""
    own = fit_own(series, fold.known, model)
    found = {**fold_quantiles(series, fold, own, model), ORACLE: _oracle(series, fold, own.start)}
    if boosted is None:
        return found
    on_known, on_test = (boosted.sigma(series, own.start, rows) for rows in (fold.known, fold.test))
    return found | {
        LIGHTGBM: on_test[:, :, None] * quantiles_over(series, fold.known, on_known, model.pooled.shape),
        GJR_GARCH: fit_garch(series.history, fold.known).predict(series.history, fold.test).quantiles,
    }


def _oracle(series: Series, fold: Fold, start: Start) -> Floats:
    """HAR told the range-based variance of the sessions to come, by as much as serves it best on the known rows."""
    known = fold.known

    def told(rows: np.ndarray, share: float) -> Floats:
        har = start.har.sigma(series.history, rows)
        return har ** (1 - share) * np.sqrt(session_steps() * future_variance(series, rows)) ** share

    def loss(share: float) -> float:
        sigma = told(known, share)
        quantiles = sigma[:, :, None] * quantiles_over(series, known, sigma)
        return float(pinball_losses(series.history.targets[known], quantiles).mean())

    best = min(_TOLD, key=loss)
    return told(fold.test, best)[:, :, None] * quantiles_over(series, known, told(known, best))
