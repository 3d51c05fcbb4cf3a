"""Training the universe's networks: from series and folds to a `UniverseModel`, in a pool of worker processes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias

from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.evaluation.scores import Fold
from stockcast_assets.forecasting.models.network import Scaler
from stockcast_assets.forecasting.models.volatility import steps as session_steps
from stockcast_assets.forecasting.universe.earnings import settled_offsets
from stockcast_assets.forecasting.universe.fitting import CHUNK, Loss, TrainingSet, fit_network
from stockcast_assets.forecasting.universe.inputs import Series
from stockcast_assets.forecasting.universe.network import Network, UniverseModel, standardised
from stockcast_assets.forecasting.universe.start import Pooled, Start, fit_starts, future_variance, shape_of
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats

Networks: TypeAlias = Sequence[tuple[Loss, int]]
"""What each network loses by, and its seed."""

NETWORKS: Networks = (("variance", 1), ("variance", 2), ("pinball", 1), ("pinball", 2))
"""Two losses and two seeds each: one network alone varies by more than what separates it from the next best."""

RECIPE = 2
"""Counts the ways in which networks were prepared and fitted: another one gives other networks of the same series."""


@dataclass(frozen=True)
class Prepared:
    """A training set with what it was made of."""

    data: TrainingSet
    steps: Scaler
    heads: Scaler
    pooled: Pooled
    starts: Mapping[str, Start]


def prepare_training(series: Mapping[str, Series], folds: Mapping[str, Fold]) -> Prepared:
    """The starts on what the folds know, and the rows to learn from beside them."""
    ordered = sorted(series)
    known = {ticker: folds[ticker].known for ticker in ordered}
    pooled, starts = fit_starts({ticker: series[ticker] for ticker in ordered}, known)
    steps = {ticker: starts[ticker].steps(series[ticker]) for ticker in ordered}
    sigmas = {ticker: starts[ticker].sigma(series[ticker], known[ticker]) for ticker in ordered}
    shapes = [shape_of(series[ticker], known[ticker], sigmas[ticker]) for ticker in ordered]
    heads = {ticker: starts[ticker].head(series[ticker], known[ticker], sigmas[ticker]) for ticker in ordered}
    step_scaler = _scaler(np.concatenate([steps[ticker][known[ticker]] for ticker in ordered]))
    head_scaler = _scaler(np.concatenate([heads[ticker].reshape(-1, heads[ticker].shape[-1]) for ticker in ordered]))

    # Up to what is known and no further: later bars change nothing, not even the place of a row.
    lengths = {ticker: int(known[ticker][-1]) + 1 for ticker in ordered}
    ends = np.cumsum([0, *(CHUNK + lengths[ticker] for ticker in ordered)]) + CHUNK
    size = int(ends[-1]) + CHUNK
    begins = dict(zip(ordered, ends, strict=False))
    n_steps, n_heads = steps[ordered[0]].shape[1], heads[ordered[0]].shape[2]
    data = TrainingSet(
        np.zeros((size, n_steps), np.float32),
        np.zeros((size, HORIZON, n_heads), np.float32),
        np.zeros((size, HORIZON), np.float32),
        np.zeros((size, HORIZON), np.float32),
        np.stack(shapes).astype(np.float32),
        np.zeros(size, np.int64),
        *(_stretches(ordered, begins, folds, of) for of in ("known", "train", "validation")),
    )
    ratios = _log_ratios(series, known, sigmas)
    for number, ticker in enumerate(ordered):
        begin, rows, length = int(begins[ticker]), known[ticker], lengths[ticker]
        data.steps[begin : begin + length] = standardised(step_scaler, steps[ticker][:length])
        data.heads[begin + rows] = standardised(head_scaler, heads[ticker])
        data.log_ratio[begin + rows] = ratios[ticker]
        data.targets[begin + rows] = series[ticker].history.targets[rows] / sigmas[ticker]
        data.ticker[begin : begin + length] = number
    of_all = np.mean([shape for shape in shapes if shape.any()] or shapes, axis=0)
    return Prepared(data, step_scaler, head_scaler, replace(pooled, shape=of_all), starts)


def fingerprint(series: Mapping[str, Series], folds: Mapping[str, Fold], networks: Networks = NETWORKS) -> str:
    """SHA-256 of all that the networks are a function of: the same one means the same networks, to the last bit.

    Of what `prepare_training` looks at, which takes far longer to prepare.
    """
    digest = hashlib.sha256(repr((RECIPE, tuple(networks))).encode())
    for ticker in sorted(series):
        one, fold = series[ticker], folds[ticker]
        known = int(fold.known[-1]) + 1
        history, settled = one.history, known + HORIZON
        days = history.dates[:known].to_numpy().astype("datetime64[D]")
        outcomes = history.log_close[:settled], history.variance[:settled]
        inputs = history.har[:known], one.market[:known], one.offsets[:known], one.steps[:known], one.ahead[:known]
        reported = settled_offsets(days, one.reports, days[-1])
        digest.update(ticker.encode())
        for array in (days.astype(np.int64), fold.train, fold.validation, *outcomes, *inputs, reported):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def submit(
    pool: ProcessPoolExecutor, prepared: Prepared, networks: Networks = NETWORKS
) -> list[Future[tuple[Network, int]]]:
    """Begin to fit every network; put them together by `model_of`."""
    return [pool.submit(fit_network, prepared.data, loss, seed) for loss, seed in networks]


def model_of(prepared: Prepared, networks: Sequence[Network]) -> UniverseModel:
    """The networks with what they were fitted beside."""
    return UniverseModel(tuple(networks), prepared.steps, prepared.heads, prepared.pooled)


def _scaler(values: Floats) -> Scaler:
    return Scaler(np.nanmean(values, axis=0), np.maximum(np.nanstd(values, axis=0), 1e-3))


def _stretches(ordered: Sequence[str], begins: Mapping[str, int], folds: Mapping[str, Fold], of: str) -> np.ndarray:
    rows = {ticker: getattr(folds[ticker], of) for ticker in ordered}
    return np.array([(begins[t] + rows[t][0], begins[t] + rows[t][-1]) for t in ordered])


def _log_ratios(
    series: Mapping[str, Series], rows: Mapping[str, np.ndarray], sigmas: Mapping[str, Floats]
) -> dict[str, Floats]:
    """[n, HORIZON] log of the variance to come over the start's, less the ticker's mean and the day's over all.

    What all tickers of a day had in common is mostly noise that no ticker's inputs could have told.
    """
    ratios = {}
    for ticker, sigma in sigmas.items():
        ratio = np.log(future_variance(series[ticker], rows[ticker]) / (sigma**2 / session_steps()))
        ratios[ticker] = ratio - ratio.mean(axis=0)
    if len(ratios) == 1:
        return ratios
    days, day = np.unique(
        np.concatenate([series[t].history.dates[rows[t]].to_numpy() for t in ratios]), return_inverse=True
    )
    together = np.concatenate(list(ratios.values()))
    count = np.bincount(day, minlength=len(days))
    means = np.column_stack([np.bincount(day, weights=column) / count for column in together.T])
    sizes = np.cumsum([len(rows[ticker]) for ticker in ratios])[:-1]
    return dict(zip(ratios, np.split(together - means[day], sizes), strict=True))
