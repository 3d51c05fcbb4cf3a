"""`stockcast forecast`: tickers as of a day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from rich.text import Text

from stockcast_assets.cli.days import check_known, check_ticker, forget_if_empty, session_of
from stockcast_assets.cli.estimate import training_ahead
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import Session, apart, failure, open_session, resumable
from stockcast_assets.cli.tables import Row, plain, print_json, print_table
from stockcast_assets.cli.terminal import err, out, stacked, styled
from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import pd
from stockcast_assets.orchestration.planning.ranges import add_tickers, known_tickers
from stockcast_assets.tables import DRIFT_REPORT, FORECASTS, HORIZON, QUANTILE_COLUMNS, TAIL_COLUMNS, TRAINED_MODEL
from stockcast_assets.tracking.serving import row_in_use

ADVICE = "A forecast is a range of what may happen, not advice."


def run(call: Invocation, tickers: Sequence[str], day_text: str | None) -> None:
    """Bring the tickers up to the day and print their forecasts; of several, a line each.

    Raises:
        StockcastError: if an argument is wrong, or a ticker failed; the others are done and shown.
    """
    with open_session(call, models=True) as session:
        session.require_rows_here()
        source, known = session.sources.get(), known_tickers(session.instance)
        days = {}
        for ticker in tickers:
            check_ticker(session.settings, ticker, source)
            days[ticker] = session_of(session.settings, source, ticker, day_text)
            if ticker not in known:
                check_known(session.settings, source, ticker)
        new = add_tickers(session.instance, tickers)
        if (ahead := training_ahead(session, days)) is not None:
            err.print(ahead)
        failed = _bring_up(session, days)
        forget_if_empty(session, [ticker for ticker in new if ticker in failed])
        if len(tickers) == 1 and failed:
            raise StockcastError(*failed.values())
        documents = [describe(session, ticker, day.date()) for ticker, day in days.items() if ticker not in failed]
        if call.as_json:
            print_json(documents[0] if len(tickers) == 1 else documents)
        elif len(tickers) == 1:
            _print(documents[0])
        else:
            print_summary([summary(session, document) for document in documents])
            out.print(ADVICE, style="dim")
        if failed:
            raise failure(failed, tickers)


def _bring_up(session: Session, days: Mapping[str, pd.Timestamp]) -> dict[str, str]:
    """Bring all up together; if that fails, each alone. Returns why those failed that did."""
    with resumable(session):
        return apart(list(days), lambda some: session.runner.bring_up({ticker: [days[ticker]] for ticker in some}))


def _print(document: Row) -> None:
    print_table(
        f"{document['ticker']}: close of the next {HORIZON} sessions, as of {document['as_of']} (last close "
        f"{document['last_close']:,.2f})",
        ["session", "date", "5 %", "10 %", "25 %", "median", "75 %", "90 %", "95 %", "random walk"],
        [
            [
                row["horizon"],
                row["target_date"],
                *(row[f"close_p{q}"] for q in ("05", "10", "25", "50", "75", "90", "95")),
                row["naive_close"],
            ]
            for row in document["forecasts"]
        ],
        drop=(("5 %", "95 %"), ("25 %", "75 %"), ("random walk",)),
    )
    out.print(styled("Method: ", (document["method"], "bold"), f". {document['reason']}"))
    out.print(ADVICE, style="dim")


def print_summary(rows: Sequence[Row]) -> None:
    """A line for each ticker."""
    print_table(
        "Close forecast: median (10 % – 90 %)",
        ["ticker", "as of", "close", "1 session", "5 sessions", f"{HORIZON} sessions", "method", "LSTM skill", "drift"],
        [
            [
                row["ticker"],
                row["as_of"],
                row["last_close"],
                *(_interval(row[f"session_{h}"]) for h in (1, 5, HORIZON)),
                row["method"],
                _skill(row["skill_vs_random_walk"]),
                row["drift"],
            ]
            for row in rows
        ],
        drop=(("LSTM skill", "drift"), ("5 sessions",), ("1 session",)),
    )


def summary(session: Session, document: Row) -> Row:
    """What one line of `print_summary` shows of a forecast that `describe` made."""
    day = date.fromisoformat(document["as_of"])
    drift = session.warehouse.read(DRIFT_REPORT, tickers=[document["ticker"]], start=day, end=day)
    horizons = {row["horizon"]: row for row in document["forecasts"]}
    ratio = document["rmse_ratio_rw"]
    return {
        "ticker": document["ticker"],
        "as_of": document["as_of"],
        "last_close": document["last_close"],
        **{
            f"session_{h}": {name: horizons[h][f"close_{name}"] for name in ("p10", "p50", "p90")}
            for h in (1, 5, HORIZON)
        },
        "method": document["method"],
        "skill_vs_random_walk": None if ratio is None else 1 - ratio,
        "drift": bool(drift["drifted"].any()),
        "reason": document["reason"],
    }


def _interval(quantiles: Mapping[str, float]) -> Text:
    return stacked("{p50:,.2f}".format(**quantiles), "({p10:,.2f} – {p90:,.2f})".format(**quantiles))


def _skill(skill: float | None) -> str:
    return "–" if skill is None else f"{skill:+.1%}"


def describe(session: Session, ticker: str, day: date) -> Row:
    """The stored forecast of (ticker, day) and the model behind it, as one document."""
    rows = session.warehouse.read(FORECASTS, tickers=[ticker], start=day, end=day)
    models = session.warehouse.read(TRAINED_MODEL, tickers=[ticker], end=day).to_dict("records")
    model = row_in_use(models, ticker, pd.Timestamp(day))
    first = rows.iloc[0]
    shown = sorted((*QUANTILE_COLUMNS, *TAIL_COLUMNS))
    per_horizon = rows[["horizon", "target_date", *shown, "naive_close"]]
    return {
        "ticker": ticker,
        "as_of": plain(first["date"]),
        "last_close": plain(first["last_close"]),
        "method": first["method"],
        "model_version": first["model_version"],
        "rmse_ratio_rw": plain(model["rmse_ratio_rw"]),
        "reason": first["fallback"] or model["reason"],
        "forecasts": [{name: plain(value) for name, value in row.items()} for row in per_horizon.to_dict("records")],
    }
