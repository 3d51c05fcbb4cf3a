"""A small home with every table filled, so that pages are tested on the real warehouse."""

import math
from datetime import date
from pathlib import Path

import pandas as pd

from stockcast_assets import tables
from stockcast_assets.market import calendars, indicators
from stockcast_assets.market.earnings import told
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.monitoring import series
from stockcast_assets.monitoring.accuracy import score
from stockcast_assets.monitoring.drift import drift_report
from stockcast_assets.monitoring.reports import ReportStore
from stockcast_assets.tables import Table
from stockcast_assets.warehouse import DuckDBWarehouse, TableRef, frames
from stockcast_assets.warehouse.slices import Slice
from stockcast_assets_tests.monitoring.conftest import fan, said_by_har

START, END = pd.Timestamp("2012-01-01"), date(2013, 3, 1)
TICKERS = ("AAPL", "MSFT")
REASON = "Its interval loses to the HAR baseline (pinball ratio 1.012), so the baseline is published."


def write(home: Path, table: Table, frame: pd.DataFrame) -> None:
    data, contract = frames.to_arrow(frame[table.column_names], table.name, table)
    warehouse = DuckDBWarehouse(str(home / "warehouse.duckdb"))
    warehouse.replace(TableRef("stockcast", table.name), data, Slice.whole(), contract)


def fill(home: Path) -> None:
    """Two tickers: bars and indicators of 13 years, forecasts and outcomes of 4 months, drift of 3 days.

    MSFT has drift of every kind, AAPL no predictions to compare.
    """
    source = SampleSource()
    bars = {ticker: source.bars(ticker, None, END) for ticker in TICKERS}
    every = pd.concat(bars.values(), ignore_index=True)
    write(home, tables.PRICE_HISTORY, every[every["date"] < START])
    write(home, tables.RAW_PRICES, every[every["date"] >= START])
    studied = indicators.compute(every)
    write(home, tables.INDICATORS, studied[studied["date"] >= START])

    now = pd.Timestamp(END, tz="UTC")
    write(home, tables.EARNINGS_DATES, told(tables.EARNINGS_DATES.empty(), source.earnings("MSFT"), now).rows)

    forecasts, accuracy, drift = [], [], []
    for ticker, own in bars.items():
        days = own.loc[own["date"] >= "2012-11-01", "date"]
        made = pd.concat([_forecast(own, day) for day in days], ignore_index=True)
        forecasts.append(made)
        scored = score(made.assign(revision=0, late=False), own, [day.date() for day in days[1:]])
        accuracy.append(scored)
        features = series.inputs(own).merge(series.residuals(made, scored), on="date", how="left")
        if ticker == "MSFT":
            features = features.merge(said_by_har(own), on="date", how="left")
        drift += [
            drift_report(ticker, day.date(), features, date(2000, 3, 1), date(2013, 1, 31))
            for day in days[days > "2013-01-31"][-3:]
        ]
    write(home, tables.FORECASTS, pd.concat(forecasts))
    write(home, tables.FORECAST_ACCURACY, pd.concat(accuracy))
    uris = ReportStore(home / "reports").save(drift)
    rows = [result.rows.assign(report_uri=uris[result.ticker, result.day]) for result in drift]
    write(home, tables.DRIFT_REPORT, pd.concat(rows))
    write(home, tables.TRAINED_MODEL, pd.DataFrame([model_row(t, m) for t in TICKERS for m in (1, 2, 3)]))


def _forecast(bars: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    ticker = str(bars["ticker"].iloc[0])
    targets = calendars.next_sessions(calendars.calendar_for(ticker), day.date(), 10)
    made = fan(bars, str(day.date()), 0.018).assign(target_date=targets)
    # As the rows of `model_row` say: January's model was refused.
    return made.assign(method="lstm", model_version=str(day.month)) if day >= pd.Timestamp("2013-02-01") else made


def model_row(ticker: str, month: int) -> dict[str, object]:
    return {
        "ticker": ticker,
        "date": pd.Timestamp(2013, month, 1),
        "model_name": f"stockcast-{ticker}",
        "model_version": str(month),
        "run_id": f"{month:032x}",
        "weights_sha256": f"{month:064x}",
        "trained_from": pd.Timestamp(2000, 3, 1),
        "trained_to": pd.Timestamp(2013, month, 1) - pd.Timedelta(days=1),
        "n_samples": 3000,
        "n_cases": 756,
        "rmse_ratio_rw": 0.996 + month / 1000,
        "rmse_ratio_rw_low": 0.982,
        "rmse_ratio_rw_high": 1.009,
        "rmse_ratio_drift": 0.999,
        "pinball": 0.0123,
        "pinball_ratio_constant_vol": 0.91,
        "pinball_ratio_vol60": 0.985,
        "pinball_ratio_vol250": 0.95,
        "pinball_ratio_fhs": 0.991,
        "pinball_ratio_har": 1.012 if month == 1 else 0.998,
        "pinball_ratio_har_quarterly": 1.013 if month == 1 else 0.999,
        **dict.fromkeys(("pinball_ratio_har_earnings", "pinball_ratio_mix", "pinball_ratio_mix_earnings"), math.nan),
        "coverage_80": 0.803,
        "promoted": month != 1,
        "method": "naive_har" if month == 1 else "lstm",
        "reason": REASON if month == 1 else "The LSTM is published: on 756 walk-forward cases it beats every baseline.",
        "serving_version": str(month),
        "serving_run_id": None,
        "universe_run_id": None,
        "universe_sha256": None,
        "without_universe": None,
        "trigger": None,
    }
