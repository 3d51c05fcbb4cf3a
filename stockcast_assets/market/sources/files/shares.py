"""From prices in the shares of their day to prices in the shares of the file's last day, and the dividends between.

Vendors disagree about what a past price is. Yahoo Finance divides it by the splits since; Tiingo, Alpha Vantage, EODHD
and Nasdaq Data Link leave it as it was traded and say beside it which splits there were, or only an adjusted close.
Whether a split is in the earlier prices already is seen in the prices: they step by its factor, or not.
"""

from dataclasses import dataclass, replace

import numpy as np

from stockcast_assets.market.sources.files.fault import REMEDY, refuse

_SURE_SPLIT = 1.25
"""Steps of the adjusted close against the close that are larger are no dividends."""

_TELLING = 1.15
"""A split from this factor on shows in the prices of its day."""

_UNEXPLAINED = 1.8
"""A step between two closes that a file without any word of splits must explain."""

_RATIOS = sorted(
    {a / b for a in range(1, 11) for b in range(1, 11) if a != b}
    | {float(n) for n in (12, 15, 20, 25, 30, 40, 50, 100, 200, 500, 1000)}
    | {1.0 / n for n in (12, 15, 20, 25, 30, 40, 50, 100, 200, 500, 1000)}
)

_AS_TRADED = frozenset(("splitfactor", "splitcoefficient"))
"""Names by which a vendor that leaves prices as traded calls the column of splits."""


@dataclass(frozen=True)
class Series:
    """The bars of one ticker, sorted by day; every array has one entry per bar.

    Attributes:
        lines: where each stands in the file.
        prices: open, high, low and close, [4, n].
        adjusted: the adjusted close, None if the file has none.
        volume: shares traded.
        dividend: cash per share on the ex-date, None if the file has no such column.
        split: new shares per old one on the ex-date, None if the file has no such column.
    """

    lines: np.ndarray
    prices: np.ndarray
    adjusted: np.ndarray | None
    volume: np.ndarray
    dividend: np.ndarray | None
    split: np.ndarray | None

    @property
    def close(self) -> np.ndarray:
        values: np.ndarray = self.prices[3]
        return values


def in_last_shares(series: Series, split_name: str, splits_happen: bool) -> tuple[Series, list[str]]:
    """The same bars in the shares of the last one, with dividends and splits for every bar, and what was done.

    Args:
        series: bars as the file has them.
        split_name: plain name of the column of splits, if there is one.
        splits_happen: whether what is traded can be split at all: no currency and no index.

    Raises:
        Fault: if the prices step in a way that nothing in the file explains.
    """
    notes: list[str] = []
    n = len(series.lines)
    split, applied = series.split, np.zeros(n, bool)
    if split is None and series.adjusted is not None:
        split = _splits_of_adjusted(series)
        applied = split != 1
        if applied.any():
            notes.append(f"found {_splits(applied.sum())} in the steps of the adjusted close")
    elif split is None:
        split = np.ones(n)
        if splits_happen:
            _require_explained(series)
    else:
        applied = _not_yet_applied(series, split, split_name)
    raw = np.where(applied, split, 1.0)
    if applied.any():
        # What a share of that day is in shares of the last day: the product of the later factors.
        factor = np.append(np.cumprod(raw[::-1])[::-1][1:], 1.0)
        series = replace(
            series,
            prices=series.prices / factor,
            volume=series.volume * factor,
            dividend=None if series.dividend is None else series.dividend / factor,
        )
        notes.append(f"brought the prices before {_splits(applied.sum())} to the shares of the last day")
    if series.dividend is not None:
        dividend = series.dividend
    elif series.adjusted is not None:
        dividend = _dividends_of_adjusted(series)
    else:
        dividend = np.zeros(n)
    return replace(series, dividend=dividend, split=split), notes


def _steps(series: Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[n] Steps of adjusted close / close, steps of the close, and how large rounding can make the first."""
    close, adjusted = series.close, series.adjusted
    assert adjusted is not None
    step, jump = np.ones(len(close)), np.ones(len(close))
    step[1:] = (adjusted[1:] / close[1:]) / (adjusted[:-1] / close[:-1])
    jump[1:] = close[1:] / close[:-1]
    grain = 0.01 if np.allclose(adjusted, adjusted.round(2), rtol=0, atol=1e-9) else 1e-6
    noise = np.full(len(close), 1e-6)
    noise[1:] += grain / adjusted[1:] + grain / adjusted[:-1]
    return step, jump, noise


def _splits_of_adjusted(series: Series) -> np.ndarray:
    """[n] The splits that only the adjusted close knows of, 1 elsewhere."""
    step, jump, noise = _steps(series)
    split = np.ones(len(step))
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.abs(np.log(step))
        as_traded = np.abs(np.log(jump) + np.log(step)) < size / 4
    for row in np.flatnonzero((size > np.log(_SURE_SPLIT)) | (step < 1 - np.maximum(10 * noise, 0.01))):
        ratio = min(_RATIOS, key=lambda each: abs(each / step[row] - 1))
        # A dividend of the same day, or coarse adjusted closes, leave a little; the prices themselves must agree.
        if as_traded[row] and abs(ratio / step[row] - 1) < max(noise[row], 2e-3):
            split[row] = ratio
        elif as_traded[row] or step[row] < 1:
            refuse(
                f"only the adjusted close, not the close, is adjusted for a split of about {step[row]:.3g} for 1; add "
                "a column Stock Splits that says it, or divide the earlier prices by it, and upload the file again",
                int(series.lines[row]),
            )
        else:
            refuse(
                f"the adjusted close says a dividend of {(step[row] - 1) * series.close[row]:.4g} beside a close of "
                f"{series.close[row]:g}; {REMEDY}",
                int(series.lines[row]),
            )
    return split


def _dividends_of_adjusted(series: Series) -> np.ndarray:
    """[n] The dividends that a file without that column tells by its adjusted closes.

    The ratio adjusted close / close is constant between ex-dates and steps there by 1 + dividend / close, up to
    how the adjusted closes were rounded. So total returns are those of the adjusted closes.
    """
    step, _, noise = _steps(series)
    return np.where(step - 1 > noise, ((step - 1) * series.close).round(6), 0.0)


def _not_yet_applied(series: Series, split: np.ndarray, name: str) -> np.ndarray:
    """[n] Whether the prices before each split are still in the shares of before it."""
    close = series.close
    applied = np.zeros(len(split), bool)
    for row in np.flatnonzero((split != 1) & (np.arange(len(split)) > 0)):
        size, jump = np.log(split[row]), np.log(close[row] / close[row - 1])
        telling = abs(size) > np.log(_TELLING)
        if series.adjusted is not None:
            step = np.log(series.adjusted[row] / close[row] / (series.adjusted[row - 1] / close[row - 1]))
            applied[row] = abs(step - size) < abs(step)
        elif telling and abs(jump + size) < abs(size) / 3:
            applied[row] = True
        elif telling and abs(jump) < abs(size) / 3:
            applied[row] = False
        elif name in _AS_TRADED:
            applied[row] = True
        elif telling:
            refuse(
                f"a close of {close[row]:g} after {close[row - 1]:g} fits neither prices with the split of "
                f"{split[row]:g} for 1 in them nor prices without; {REMEDY}",
                int(series.lines[row]),
            )
    return applied


def _require_explained(series: Series) -> None:
    step = np.ones(len(series.close))
    step[1:] = series.close[1:] / series.close[:-1]
    large = np.abs(np.log(step)) > np.log(_UNEXPLAINED)
    if large.any():
        row = int(large.argmax())
        refuse(
            f"a close of {series.close[row]:g} after {series.close[row - 1]:g} ({step[row] - 1:+.0%}) looks like a "
            "split that the earlier prices do not know; add a column Stock Splits, with the new shares per old one on "
            "the day of a split and 0 on all other days (on all days, if there was none), and upload the file again",
            int(series.lines[row]),
        )


def _splits(count: int) -> str:
    return "1 split" if count == 1 else f"{count} splits"
