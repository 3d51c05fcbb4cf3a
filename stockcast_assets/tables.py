"""The tables stockcast stores: one declaration each, and nothing else says what a table looks like.

From a declaration come the DuckDB DDL, the BigQuery schema, Dagster's column metadata and lineage, and the
blocking checks (see `warehouse` and `assets`). Column types carry BigQuery's standard names.
"""

from __future__ import annotations

from collections.abc import Mapping

from stockcast_assets.methods import BESIDE, HAR, HAR_EARNINGS, LABELS, RANDOM_WALK, RATIOS, VOL60
from stockcast_assets.schema import Column as Column
from stockcast_assets.schema import Table as Table

TICKER = Column("ticker", "STRING", "Ticker symbol in the provider's spelling", required=True)
HORIZON = 10
"""Sessions ahead; forecasts are for 1..HORIZON."""

SMA_WINDOWS = (5, 15, 50, 100)
EMA_SPANS = (12, 26, 50, 100)
MACD_SPANS = (12, 26, 9)
"""Fast, slow and signal: Appel's."""

RSI_WINDOW = 14
VOLATILITY_WINDOW = 20
"""Windows of `indicators`, in sessions; its columns and the pages are named after them."""

RSI, VOLATILITY = f"rsi_{RSI_WINDOW}", f"volatility_{VOLATILITY_WINDOW}"
RSI_LABEL, MACD_LABEL = f"RSI {RSI_WINDOW}", "MACD {}-{}-{}".format(*MACD_SPANS)
VOLUME_WINDOW = 20
"""Sessions of the mean that a volume is compared with."""

QUANTILES = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95)


def _quantile_columns(prefix: str) -> tuple[str, ...]:
    return tuple(f"{prefix}_p{round(q * 100):02d}" for q in QUANTILES)


QUANTILE_COLUMNS = _quantile_columns("close")
"""The columns of `forecasts` that hold them, in the same order."""

TAILS = (0.01, 0.99)
"""Quantiles beyond those that models learn from and are judged by."""

TAIL_COLUMNS = tuple(f"close_p{round(q * 100):02d}" for q in TAILS)
"""The columns of `forecasts` that hold them; null in rows of earlier releases, and of models that those made."""

SIGMA_COLUMNS: Mapping[str, str] = {name: f"{name}_sigma" for name in (RANDOM_WALK, VOL60)}
"""By baseline whose quantiles are normal around the last close: the column of `forecasts` with its sigma."""

BESIDE_COLUMNS: Mapping[str, tuple[str, ...]] = {name: _quantile_columns(name) for name in (HAR, HAR_EARNINGS)}
"""By baseline whose quantiles are of its own shape: the columns of `forecasts` that hold them."""

PINBALL_COLUMNS: Mapping[str, str] = {name: f"pinball_{name}" for name in BESIDE}
"""By baseline: the column of `forecast_accuracy` with its pinball loss."""

BASELINE_COLUMNS = (*SIGMA_COLUMNS.values(), *(name for names in BESIDE_COLUMNS.values() for name in names))
"""What is stored with each published forecast, so that it can be scored beside baselines that knew no more."""


def _session(description: str) -> Column:
    return Column("date", "DATE", description, required=True)


def _price(name: str, description: str) -> Column:
    return Column(name, "FLOAT64", description, required=True, gt=0)


def _both(*columns: str) -> tuple[str, ...]:
    """Columns of a ticker's bars, wherever they lie: lineage of what is computed from its first bar on."""
    return tuple(f"{table}.{column}" for table in ("price_history", "raw_prices") for column in columns)


_BARS = (
    TICKER,
    _session("Session the bar belongs to, in the exchange's own time zone"),
    _price("open", "First price of the session, split-adjusted by the provider"),
    _price("high", "Highest price of the session, split-adjusted"),
    _price("low", "Lowest price of the session, split-adjusted"),
    _price("close", "Last price of the session, split-adjusted"),
    _price("adj_close", "Provider's adjusted close when the bar was fetched; nothing is computed from it"),
    Column("volume", "INT64", "Shares or units traded", required=True, ge=0),
    Column("dividend", "FLOAT64", "Cash dividend with this ex-date, per share; 0 if none", True, ge=0),
    Column("split_ratio", "FLOAT64", "New shares per old share with this ex-date; 1 if none", True, gt=0),
    Column("source", "STRING", "Where the bar came from: sample, yahoo or csv", required=True),
    Column("ingested_at", "TIMESTAMP", "When these values were first stored (UTC)", required=True),
)

PRICE_HISTORY = Table(
    "price_history",
    "Every daily bar before STOCKCAST_START_DATE, one key per ticker: the deep past costs one key, not thousands.",
    _BARS,
    ("ticker", "date"),
)

# What a derived row takes from the bar it describes, and what a model or a distribution takes from all bars.
_KEYS_OF_BARS = {"ticker": ("raw_prices.ticker",), "date": ("raw_prices.date",)}
_BARS_LEARNT = _both("open", "high", "low", "close", "volume", "dividend")

RAW_PRICES = Table(
    "raw_prices",
    "Daily OHLCV bars as the provider reports them, one key per ticker and session.",
    _BARS,
    ("ticker", "date"),
)


def _indicator(
    name: str, description: str, ge: float | None = None, gt: float | None = None, le: float | None = None
) -> Column:
    return Column(name, "FLOAT64", f"{description}; null while warming up", ge=ge, gt=gt, le=le)


INDICATORS = Table(
    "indicators",
    "Technical indicators of the close, computed from the ticker's first stored bar up to the session.",
    (
        TICKER,
        _session("Session the indicators describe, after its close"),
        _price("close", "Close of the session"),
        _indicator("log_return", "log(close / previous close)"),
        _indicator("pct_return", "close / previous close - 1"),
        *(_indicator(f"sma_{n}", f"Simple moving average of {n} closes", gt=0) for n in SMA_WINDOWS),
        *(
            _indicator(f"ema_{n}", f"Exponential moving average, span {n}, seeded with the SMA", gt=0)
            for n in EMA_SPANS
        ),
        _indicator("macd", "EMA {} - EMA {} of the close".format(*MACD_SPANS)),
        _indicator("macd_signal", f"EMA {MACD_SPANS[-1]} of macd"),
        _indicator("macd_hist", "macd - macd_signal"),
        _indicator(RSI, f"Wilder's relative strength index over {RSI_WINDOW} sessions", ge=0, le=100),
        _indicator(VOLATILITY, f"Sample standard deviation of {VOLATILITY_WINDOW} log returns, per session", ge=0),
    ),
    ("ticker", "date"),
    {
        **_KEYS_OF_BARS,
        "close": ("raw_prices.close",),
        **dict.fromkeys(
            (
                "log_return",
                "pct_return",
                *(f"sma_{n}" for n in SMA_WINDOWS),
                *(f"ema_{n}" for n in EMA_SPANS),
                "macd",
                "macd_signal",
                "macd_hist",
                RSI,
                VOLATILITY,
            ),
            _both("close"),
        ),
    },
)


def _metric(name: str, description: str, le: float | None = None) -> Column:
    return Column(name, "FLOAT64", f"{description}; null if the history was too short to train", ge=0, le=le)


def _ratio(name: str, more: str = "") -> Column:
    ratio = RATIOS[name]
    return _metric(name, f"{'RMSE' if ratio.metric == 'rmse' else 'Pinball'} / {ratio.compared}{more}")


_PROOF = (
    _ratio("rmse_ratio_rw", ", all horizons; below 1 is better"),
    _metric("rmse_ratio_rw_low", "Lower end of its 95 % block-bootstrap interval"),
    _metric("rmse_ratio_rw_high", "Upper end of its 95 % block-bootstrap interval"),
    _ratio("rmse_ratio_drift"),
    _metric("pinball", "Mean pinball loss of the log returns, 7 quantiles"),
    _ratio("pinball_ratio_constant_vol"),
    _ratio("pinball_ratio_vol60"),
    _ratio("pinball_ratio_vol250"),
    _ratio("pinball_ratio_fhs"),
    _ratio("pinball_ratio_har"),
    _ratio("pinball_ratio_har_quarterly"),
    _ratio("pinball_ratio_har_earnings", ", which takes a universe_model"),
    _ratio("pinball_ratio_mix", ", which takes a universe_model"),
    _ratio("pinball_ratio_mix_earnings", ", which takes a universe_model"),
    _metric("coverage_80", "Share of outcomes inside the 80 % interval", le=1),
)

_IN_REGISTRY = (
    Column("model_name", "STRING", "Registered model in MLflow", required=True),
    Column("model_version", "STRING", "Version in the MLflow registry", required=True),
    Column("run_id", "STRING", "MLflow run that trained it", required=True),
)

TRAINED_MODEL = Table(
    "trained_model",
    "The model of a ticker for a month of use, trained on what was known before the month, with its proof.",
    (
        TICKER,
        _session("First day of the month of use"),
        *_IN_REGISTRY,
        Column("weights_sha256", "STRING", "SHA-256 of the stored weights file", required=True),
        Column("trained_from", "DATE", "First session of the training window", required=True),
        Column("trained_to", "DATE", "Last session known to the training", required=True),
        Column("n_samples", "INT64", "Training samples of the final fit; 0 if the history was too short", True, ge=0),
        Column("n_cases", "INT64", "Walk-forward as-of dates behind the metrics", required=True, ge=0),
        *_PROOF,
        Column("promoted", "BOOL", "Whether the model is the new champion", required=True),
        Column("method", "STRING", "What the month publishes: lstm, average or naive_*", required=True),
        Column("reason", "STRING", "Why, in words", required=True),
        Column("serving_version", "STRING", "Version that serves the month: the model's own, or the champion's before"),
        Column("serving_run_id", "STRING", "MLflow run of that version; null in rows of earlier releases"),
        Column("trigger", "STRING", "Why it was trained again within the month; null for the month's first model"),
        Column("universe_run_id", "STRING", "MLflow run of the universe_model that it serves with; null: with none"),
        Column("universe_sha256", "STRING", "SHA-256 of that model's file"),
        Column("without_universe", "STRING", "Why it has a network of its own, in words; null with a universe_model"),
    ),
    ("ticker", "date", "trained_to"),
    {
        "ticker": _both("ticker"),
        "model_name": _both("ticker"),
        "universe_run_id": ("universe_model.run_id",),
        "universe_sha256": ("universe_model.weights_sha256",),
        **dict.fromkeys(("trained_from", "trained_to", "n_samples", "n_cases"), _both("date")),
        **dict.fromkeys(
            (
                "weights_sha256",
                *(metric.name for metric in _PROOF),
                *("promoted", "method", "reason", "serving_version", "serving_run_id"),
            ),
            _BARS_LEARNT,
        ),
    },
)

_NOT_BESIDE = "; null if the model has none, and in rows of earlier releases"

FORECASTS = Table(
    "forecasts",
    f"Close of the next {HORIZON} sessions of the ticker's calendar, as quantiles, as of the end of a session.",
    (
        TICKER,
        _session("As-of date: the last session the forecast knows"),
        Column("horizon", "INT64", f"Sessions ahead, 1 to {HORIZON}", required=True, ge=1, le=HORIZON),
        Column("target_date", "DATE", "Session the forecast is for", required=True),
        _price("last_close", "Close of the as-of date"),
        *(
            _price(name, f"{q:.0%} quantile of the target session's close")
            for name, q in zip(QUANTILE_COLUMNS, QUANTILES, strict=True)
        ),
        _price("naive_close", "Random walk forecast: the last close"),
        Column("model_version", "STRING", "MLflow version that served; none: fitted on the spot", required=True),
        Column("method", "STRING", "What made the quantiles: lstm, average or naive_*", required=True),
        Column("fallback", "STRING", "Why another model served than the month's, in words; null if the month's did"),
        *(
            Column(column, "FLOAT64", f"{LABELS[name]}: sigma of the log return{_NOT_BESIDE}", ge=0)
            for name, column in SIGMA_COLUMNS.items()
        ),
        *(
            Column(column, "FLOAT64", f"{q:.0%} quantile by {LABELS[name]}, which knew no more{_NOT_BESIDE}", gt=0)
            for name, columns in BESIDE_COLUMNS.items()
            for column, q in zip(columns, QUANTILES, strict=True)
        ),
        *(
            Column(name, "FLOAT64", f"{q:.0%} quantile; null if the model was made by a release without it", gt=0)
            for name, q in zip(TAIL_COLUMNS, TAILS, strict=True)
        ),
    ),
    ("ticker", "date", "horizon"),
    {
        **_KEYS_OF_BARS,
        "target_date": ("raw_prices.date",),
        **dict.fromkeys(BASELINE_COLUMNS, ("trained_model.weights_sha256", *_BARS_LEARNT)),
        **dict.fromkeys(("last_close", "naive_close"), ("raw_prices.close",)),
        **dict.fromkeys((*QUANTILE_COLUMNS, *TAIL_COLUMNS), ("trained_model.weights_sha256", *_BARS_LEARNT)),
        **dict.fromkeys(("model_version", "fallback"), ("trained_model.serving_version",)),
        "method": ("trained_model.method",),
    },
)

DRIFT_REPORT = Table(
    "drift_report",
    "Distribution of the recent sessions' inputs and predictions against those of the training window of the month's "
    "model less its last 60 sessions, and of their residuals against what the forecasts promised, per feature.",
    (
        TICKER,
        _session("Last session of the current window"),
        Column("feature", "STRING", "Series compared; no two kinds share a name", required=True),
        Column("method", "STRING", "Distance between the windows, by the name Evidently gives it", required=True),
        Column("score", "FLOAT64", "Its value", required=True),
        Column("threshold", "FLOAT64", "Value from which the feature counts as drifted", required=True),
        Column("drifted", "BOOL", "Whether it does", required=True),
        Column("reference_from", "DATE", "First session of the reference; of residuals: current_from", required=True),
        Column(
            "reference_to", "DATE", "Its last: 60 before the training ends; of residuals: current_to", required=True
        ),
        Column("current_from", "DATE", "First session of the current window", required=True),
        Column("current_to", "DATE", "Last session of the current window", required=True),
        Column("report_uri", "STRING", "Where the full report is stored", required=True),
        Column("kind", "STRING", "inputs, predictions or residuals; null in rows of earlier releases: inputs"),
    ),
    ("ticker", "date", "feature"),
    {
        **_KEYS_OF_BARS,
        **dict.fromkeys(
            ("score", "threshold", "drifted"),
            (
                *_BARS_LEARNT,
                "trained_model.weights_sha256",
                *(f"forecasts.{name}" for name in ("last_close", *QUANTILE_COLUMNS)),
                "forecast_accuracy.actual_close",
            ),
        ),
        "reference_from": ("trained_model.trained_from",),
        "reference_to": ("trained_model.trained_to",),
        **dict.fromkeys(("current_from", "current_to"), ("raw_prices.date",)),
    },
)

# Two splits apart, a forecast and its outcome are in other shares.
_OUTCOME = ("forecasts.last_close", "raw_prices.close", "raw_prices.split_ratio")

_NO_LEDGER = "; null for forecasts that the ledger does not know"
_EARLIER = "; null in rows of earlier releases"


def _score(name: str, description: str, le: float | None = None) -> Column:
    return Column(name, "FLOAT64", description, ge=0, le=le)


_SCORES = (
    _score("pit", f"Probability that the forecast gave to closes below the one that came{_EARLIER}", le=1),
    _score("pinball", f"Pinball loss of the log return, mean of the quantiles{_EARLIER}"),
    _score("crps", f"Continuous ranked probability score, approximated by the quantiles{_EARLIER}"),
    _score("interval_score_80", f"Interval score (Winkler) of the 80 % interval of the log return{_EARLIER}"),
    *(
        _score(column, f"Pinball loss of {LABELS[name]} for the same session{_NOT_BESIDE}")
        for name, column in PINBALL_COLUMNS.items()
    ),
)

FORECAST_ACCURACY = Table(
    "forecast_accuracy",
    "Each forecast scored once, on the day its target session closed.",
    (
        TICKER,
        _session("Target session whose close became known"),
        Column("horizon", "INT64", f"Sessions ahead, 1 to {HORIZON}", required=True, ge=1, le=HORIZON),
        Column("as_of_date", "DATE", "As-of date of the scored forecast", required=True),
        Column("target_date", "DATE", "Session the forecast was for; equals date", required=True),
        _price("actual_close", "Close of the target session"),
        Column("error", "FLOAT64", "Median forecast - actual close", required=True),
        Column("naive_error", "FLOAT64", "Random walk forecast - actual close", required=True),
        Column("inside_80", "BOOL", "Whether the close fell inside the 80 % interval", required=True),
        Column("revision", "INT64", f"Revision of the ledger that was scored{_NO_LEDGER}", ge=0),
        Column("late", "BOOL", f"Published when the target session had opened: no forecast of it{_NO_LEDGER}"),
        *_SCORES,
    ),
    ("ticker", "date", "horizon"),
    {
        **_KEYS_OF_BARS,
        "horizon": ("forecasts.horizon",),
        "as_of_date": ("forecasts.date",),
        "target_date": ("raw_prices.date",),
        "actual_close": ("raw_prices.close",),
        "error": ("forecasts.close_p50", *_OUTCOME),
        "naive_error": ("forecasts.naive_close", *_OUTCOME),
        "inside_80": ("forecasts.close_p10", "forecasts.close_p90", *_OUTCOME),
        **dict.fromkeys(
            ("pit", "pinball", "crps", "interval_score_80"),
            (*(f"forecasts.{name}" for name in QUANTILE_COLUMNS), *_OUTCOME),
        ),
        **{PINBALL_COLUMNS[name]: (f"forecasts.{column}", *_OUTCOME) for name, column in SIGMA_COLUMNS.items()},
        **{
            PINBALL_COLUMNS[name]: (*(f"forecasts.{column}" for column in columns), *_OUTCOME)
            for name, columns in BESIDE_COLUMNS.items()
        },
    },
)

EARNINGS_DATES = Table(
    "earnings_dates",
    "What was said of a ticker's earnings reports, each statement with the day at whose end it was known.",
    (
        TICKER,
        Column("date", "DATE", "Day of the report", required=True),
        Column("hour", "STRING", "before open, after close or unknown", required=True),
        Column("kind", "STRING", "filed: it came; announced: the day is fixed; expected: an estimate", required=True),
        Column("known_on", "DATE", "Day at whose end this was known", required=True),
        Column("cancelled", "BOOL", "Whether the statement is that no report comes on the day", required=True),
        Column("source", "STRING", "Who said so: sample, yahoo or csv", required=True),
        Column("recorded_at", "TIMESTAMP", "When it was first stored (UTC)", required=True),
    ),
    ("ticker", "date", "known_on"),
)

MARKET_STATE = Table(
    "market_state",
    "What the tickers of a day say together. Its members are recorded, so that a ticker added later changes no day.",
    (
        Column("date", "DATE", "Session of at least one member", required=True),
        Column("log_variance", "FLOAT64", "Mean log daily variance of the members", required=True),
        Column("mean_return", "FLOAT64", "Mean log return of the members; null on the first day"),
        Column("dispersion", "FLOAT64", "Log standard deviation of the members' returns; null on the first day"),
        Column("n_members", "INT64", "Tickers with a bar that count", required=True, ge=1),
        Column("members", "STRING", "Their symbols, sorted, separated by spaces", required=True),
        Column("variance_22", "STRING", "Their log variance of 22 sessions, ascending: base64 of float64", True),
        Column("change", "STRING", "Those of 5 sessions less those of 22, ascending: base64 of float64", required=True),
        Column("index_ticker", "STRING", "STOCKCAST_INDEX, if it is a ticker with a bar of the day"),
        Column("index_log_variance", "FLOAT64", "Its log daily variance"),
        Column("index_return", "FLOAT64", "Its log return"),
    ),
    ("date",),
    {
        "date": _both("date"),
        "members": _both("ticker"),
        "n_members": _both("ticker"),
        "index_ticker": _both("ticker"),
        **dict.fromkeys(("mean_return", "dispersion", "index_return"), _both("close", "dividend")),
        **dict.fromkeys(
            ("log_variance", "variance_22", "change", "index_log_variance"),
            _both("open", "high", "low", "close", "dividend"),
        ),
    },
)

UNIVERSE_MODEL = Table(
    "universe_model",
    "The networks of a month of use, fitted on all tickers together on what was known before it, with their proof.",
    (
        Column("date", "DATE", "First day of the month of use", required=True),
        *_IN_REGISTRY,
        Column("weights_sha256", "STRING", "SHA-256 of the stored file", required=True),
        Column("trained_to", "DATE", "Last session of any member known to the training", required=True),
        Column("n_samples", "INT64", "Rows that the networks learnt from", required=True, ge=1),
        Column("n_members", "INT64", "Tickers that they learnt from", required=True, ge=2),
        Column("members", "STRING", "Their symbols, sorted, separated by spaces", required=True),
        Column("origins", "STRING", "Days as of which its fits were made, ascending: the proof's and its own", True),
        Column("n_judged", "INT64", "Members that the proof pools", required=True, ge=0),
        Column("n_cases", "INT64", "Walk-forward as-of dates of all of them behind the metrics", required=True, ge=0),
        Column("pinball_ratio_start", "FLOAT64", "Pinball / that of the interval that the networks start from", ge=0),
        Column("pinball_ratio_start_low", "FLOAT64", "Lower end of its 95 % block-bootstrap interval", ge=0),
        Column("pinball_ratio_start_high", "FLOAT64", "Upper end of its 95 % block-bootstrap interval", ge=0),
        Column("pinball_ratio_har_earnings", "FLOAT64", "Pinball / HAR x reports", ge=0),
        Column("pinball_ratio_har", "FLOAT64", "Pinball / linear HAR", ge=0),
        Column("coverage_80", "FLOAT64", "Share of outcomes inside the 80 % interval", ge=0, le=1),
        Column("promoted", "BOOL", "Whether tickers may publish it alone", required=True),
        Column("reason", "STRING", "Why, in words", required=True),
        Column("pinball_ratio_best", "FLOAT64", "Pinball / that of each member's best baseline in hindsight", ge=0),
        Column("pinball_ratio_best_low", "FLOAT64", "Lower end of its 95 % block-bootstrap interval", ge=0),
        Column("pinball_ratio_best_high", "FLOAT64", "Upper end of its 95 % block-bootstrap interval", ge=0),
        Column("admitted", "STRING", "What tickers may publish of it: lstm, average (of it and its start) or none"),
    ),
    ("date",),
    {
        "members": _both("ticker"),
        "n_members": _both("ticker"),
        "trained_to": _both("date"),
        **dict.fromkeys(
            (
                *("weights_sha256", "pinball_ratio_start", "pinball_ratio_start_low", "pinball_ratio_start_high"),
                *("pinball_ratio_har_earnings", "pinball_ratio_har", "coverage_80", "promoted", "reason"),
                *("pinball_ratio_best", "pinball_ratio_best_low", "pinball_ratio_best_high", "admitted"),
            ),
            (
                *_BARS_LEARNT,
                *(f"earnings_dates.{name}" for name in ("date", "hour", "kind", "known_on", "cancelled")),
                *(f"market_state.{name}" for name in ("log_variance", "mean_return", "dispersion", "variance_22")),
            ),
        ),
    },
)

PUBLISHED_FORECASTS = Table(
    "published_forecasts",
    "The ledger: every forecast as it was published. Rows are added, together with those of `forecasts`, and never "
    "changed.",
    (
        TICKER,
        _session("As-of date: the last session the forecast knew"),
        Column("entry", "INT64", "Number of the ticker's entry, in the order of publication", required=True, ge=1),
        Column("revision", "INT64", "0: as first published; 1, 2, …: what replaced it in `forecasts`", True, ge=0),
        *FORECASTS.columns[2:],
        Column("published_at", "TIMESTAMP", "When it was stored (UTC)", required=True),
        Column("target_opens_at", "TIMESTAMP", "When the target session opens (UTC)", required=True),
        Column("late", "BOOL", "Published when the target session had opened: no forecast of it", required=True),
        Column("code_version", "STRING", "The stockcast that made it", required=True),
        Column("model_digest", "STRING", "SHA-256 of the model's file; null if it was fitted on the spot"),
        Column("data_digest", "STRING", "SHA-256 of the ticker's bars up to the as-of date, as known then", True),
        Column("digest", "STRING", "SHA-256 of the ticker's row before and this one's other values", required=True),
    ),
    ("ticker", "entry", "horizon"),
)

PRICE_REVISIONS = Table(
    "price_revisions",
    "What the bars said before: each bar that was replaced or removed, as it was. Rows are added, together with what "
    "replaces them, and never changed.",
    (
        TICKER,
        _session("Session of the bar"),
        Column("stored_in", "STRING", "Table that had the bar: raw_prices or price_history", required=True),
        Column(
            "revision", "INT64", "1: the first one that this table had of the session; 2, 3, …: later ones", True, ge=1
        ),
        Column("revised_at", "TIMESTAMP", "When it was replaced or removed (UTC)", required=True),
        *_BARS[2:],
    ),
    ("ticker", "date", "stored_in", "revision"),
)

ALL_TABLES = (
    PRICE_HISTORY,
    RAW_PRICES,
    INDICATORS,
    TRAINED_MODEL,
    FORECASTS,
    DRIFT_REPORT,
    FORECAST_ACCURACY,
    EARNINGS_DATES,
    MARKET_STATE,
    UNIVERSE_MODEL,
)
"""The tables of assets that runs make."""

SCENARIOS = Table(
    "scenarios",
    "Of which past sessions the joint scenarios of a day's forecasts are made. They follow from it and what is stored; "
    "their digest proves that they are the same.",
    (
        Column("date", "DATE", "As-of day of the forecasts", required=True),
        Column("n_members", "INT64", "Tickers with a forecast of the day and enough past", required=True, ge=1),
        Column("members", "STRING", "Their symbols, sorted, separated by spaces", required=True),
        Column("n_sessions", "INT64", "Past sessions, each of which is a scenario", required=True, ge=1),
        Column("sessions", "STRING", "They, ascending: base64 of int32, days since 1970", required=True),
        Column("digest", "STRING", "SHA-256 of the members' returns in each scenario, 1 to 10 sessions ahead", True),
    ),
    ("date",),
    {
        "date": ("forecasts.date",),
        **dict.fromkeys(("n_members", "members"), ("forecasts.ticker", *_both("ticker"))),
        **dict.fromkeys(("n_sessions", "sessions"), _both("date")),
        "digest": (*(f"forecasts.{name}" for name in ("last_close", *QUANTILE_COLUMNS)), *_both("close", "dividend")),
    },
)

STORED_TABLES = (*ALL_TABLES, PUBLISHED_FORECASTS, PRICE_REVISIONS, SCENARIOS)
"""Every table there is: also those that are filled beside others, or on a day's tickers once all of them are there."""
