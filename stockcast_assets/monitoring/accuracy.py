"""What became of the forecasts: each one is scored once, on the day its target session closed.

Prices are split-adjusted by the provider as of the moment they were fetched, so a forecast and the close it
is measured against may count in different shares. Both are brought to the shares of the target session's bar:
a past that was fetched again after a split shows in the as-of bar, which no longer equals the forecast's
`last_close`; a past that was not shows as a jump by the split's ratio between two stored bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from statistics import NormalDist

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.evaluation.scores import crps, interval_score, pinball_losses
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats
from stockcast_assets.monitoring.series import probability_below
from stockcast_assets.tables import (
    BASELINE_COLUMNS,
    BESIDE_COLUMNS,
    FORECAST_ACCURACY,
    FORECASTS,
    PINBALL_COLUMNS,
    QUANTILE_COLUMNS,
    QUANTILES,
    SIGMA_COLUMNS,
)

_ROW = ["ticker", "date", "horizon"]

ENTRY_COLUMNS = [*FORECASTS.column_names, "entry", "revision", "late"]
"""What `promised` reads of the ledger."""


def promised(forecasts: pd.DataFrame, entries: pd.DataFrame) -> pd.DataFrame:
    """The forecasts that are scored: what was said before the target session opened, whatever was repaired since.

    Args:
        forecasts: rows of `forecasts`.
        entries: the ledger's rows (`ENTRY_COLUMNS`) of the same tickers and days, and perhaps of others.

    Returns:
        One row for each of `forecasts`, with `revision` and `late`: the newest revision of the ledger that was not
        late, or the newest one if all were; a forecast that the ledger knows nothing of, as it is, with neither.
    """
    ordered = entries.assign(late=entries["late"].astype(bool)).sort_values("entry")
    # Stable: of those in time, and of those that were late, the newest comes last.
    ordered = ordered.sort_values("late", ascending=False, kind="stable").drop_duplicates(_ROW, keep="last")
    asked = forecasts[_ROW].merge(ordered, on=_ROW, how="left", indicator="known")
    unknown = (asked.pop("known") == "left_only").to_numpy()
    found = [asked[~unknown], forecasts[unknown].assign(revision=np.nan, late=None)]
    return pd.concat([part for part in found if len(part)] or found[:1], ignore_index=True)


def score(forecasts: pd.DataFrame, bars: pd.DataFrame, days: Sequence[date]) -> pd.DataFrame:
    """Score every forecast whose target session is one of `days`.

    A row's bits depend on its forecast and the bars up to its target session alone.

    Args:
        forecasts: rows of the `forecasts` table, any tickers, as-of dates and horizons; with `revision` and `late`
            those that are `promised`.
        bars: `raw_prices` columns of the same tickers from their first stored bar to the last of the days; later bars
            change nothing.
        days: target sessions, closed.

    Returns:
        Rows of `forecast_accuracy`, sorted by (ticker, date, horizon); none if no forecast was made for the days.
        `error` and `naive_error` are forecast minus actual close, in the price units of the target session's bar;
        `inside_80` includes the ends of the interval. The scores of the distribution are of log returns from the close
        of the as-of session, as in an evaluation; null where a baseline was not stored.

    Raises:
        StockcastError: the bar of the as-of or of the target session is missing.
    """
    due = forecasts[forecasts["target_date"].isin(pd.DatetimeIndex(list(days)))]
    if due.empty:
        return FORECAST_ACCURACY.empty()
    due = due.sort_values(["ticker", "target_date", "horizon"], ignore_index=True)
    due = due.reindex(columns=[*dict.fromkeys((*due.columns, *BASELINE_COLUMNS, "revision", "late"))])
    return pd.concat(
        [
            _scored(str(ticker), rows, bars[bars["ticker"] == ticker].sort_values("date"))
            for ticker, rows in due.groupby("ticker", sort=False)
        ],
        ignore_index=True,
    )[FORECAST_ACCURACY.column_names]


def _scored(ticker: str, rows: pd.DataFrame, path: pd.DataFrame) -> pd.DataFrame:
    """The scores of one ticker's forecasts, whose bars are `path`."""
    dates, close = path["date"].to_numpy(), path["close"].to_numpy(np.float64)
    for needed in (rows["date"], rows["target_date"]):
        absent = ~needed.isin(dates)
        if absent.any():
            raise StockcastError(
                f"Forecasts of {ticker} for {rows['target_date'][absent].iloc[0]:%Y-%m-%d} cannot be scored: there is "
                f"no bar for {needed[absent].iloc[0]:%Y-%m-%d}; materialise raw_prices for it first."
            )
    made, ended = (np.searchsorted(dates, rows[name].to_numpy()) for name in ("date", "target_date"))
    shares = _shares(close, path["split_ratio"].to_numpy(np.float64))
    scale = close[made] / rows["last_close"].to_numpy() / (shares[ended] / shares[made])
    actual = close[ended]
    low, median, high, naive = (
        rows[name].to_numpy() * scale for name in ("close_p10", "close_p50", "close_p90", "naive_close")
    )
    return pd.DataFrame(
        {
            "ticker": ticker,
            "date": rows["target_date"],
            "horizon": rows["horizon"].astype("int64"),
            "as_of_date": rows["date"],
            "target_date": rows["target_date"],
            "actual_close": actual,
            "error": median - actual,
            "naive_error": naive - actual,
            "inside_80": (low <= actual) & (actual <= high),
            "revision": rows["revision"].astype("Int64"),
            "late": rows["late"].astype("boolean"),
            **_distribution(rows, actual, median - actual, np.log(actual / (rows["last_close"].to_numpy() * scale))),
        }
    )


def _distribution(rows: pd.DataFrame, actual: Floats, error: Floats, outcome: Floats) -> dict[str, Floats]:
    """The scores of the whole distribution, and of the baselines'; `outcome` [n] is the log return that came."""
    last = rows["last_close"].to_numpy(np.float64)[:, None]
    normal = np.array([NormalDist().inv_cdf(level) for level in QUANTILES])

    def closes(columns: Sequence[str]) -> Floats:
        return rows[list(columns)].to_numpy(np.float64)

    published = closes(QUANTILE_COLUMNS)
    said = np.log(published / last)
    losses = pinball_losses(outcome, said)
    beside = {name: rows[column].to_numpy(np.float64)[:, None] * normal for name, column in SIGMA_COLUMNS.items()}
    beside |= {name: np.log(closes(columns) / last) for name, columns in BESIDE_COLUMNS.items()}
    return {
        "pit": probability_below(published, actual, error),
        "pinball": losses.mean(axis=1),
        "crps": crps(losses),
        "interval_score_80": interval_score(outcome, said),
        **{column: pinball_losses(outcome, beside[name]).mean(axis=1) for name, column in PINBALL_COLUMNS.items()},
    }


def _shares(close: Floats, split_ratio: Floats) -> Floats:
    """Shares that one share of the first bar has become, by splits that the closes do not already contain.

    A close that steps by nearly 1 / ratio on the ex-date was stored in old shares before it; one that steps
    by nearly nothing was adjusted. The nearer of the two, in logarithms, decides.
    """
    ratio = np.log(split_ratio[1:])
    step = np.diff(np.log(close))
    unadjusted = np.abs(step + ratio) < np.abs(step)
    return np.exp(np.concatenate(([0.0], np.cumsum(np.where(unadjusted, ratio, 0.0)))))
