"""`stockcast forecast`: one ticker, one as-of date."""

from __future__ import annotations

from datetime import date

from stockcast_assets.cli.days import check_known, check_ticker, forget_if_empty, session_of
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import Session, open_session, resumable
from stockcast_assets.cli.tables import Row, plain, print_json, print_table
from stockcast_assets.cli.terminal import out, styled
from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import pd
from stockcast_assets.orchestration.planning.ranges import add_tickers, known_tickers
from stockcast_assets.tables import FORECASTS, TRAINED_MODEL
from stockcast_assets.tracking.serving import row_in_use


def run(call: Invocation, ticker: str, day_text: str | None) -> None:
    """Bring `ticker` up to the day and print its forecast."""
    with open_session(call, models=True) as session:
        check_ticker(session.settings, ticker, session.sources.get())
        day = session_of(session.settings, session.sources.get(), ticker, day_text)
        if ticker not in known_tickers(session.instance):
            check_known(session.settings, session.sources.get(), ticker)
        new = add_tickers(session.instance, [ticker])
        try:
            with resumable(session):
                session.runner.bring_up({ticker: [day]})
        except StockcastError:
            forget_if_empty(session, new)
            raise
        document = describe(session, ticker, day.date())
        if call.as_json:
            print_json(document)
            return
        print_table(
            f"{ticker}: close of the next 10 sessions, as of {day.date()} (last close {document['last_close']:,.2f})",
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
        )
        out.print(styled("Method: ", (document["method"], "bold"), f". {document['reason']}"))
        out.print("A forecast is a range of what may happen, not advice.", style="dim")


def describe(session: Session, ticker: str, day: date) -> Row:
    """The stored forecast of (ticker, day) and the model behind it, as one document."""
    rows = session.warehouse.read(FORECASTS, tickers=[ticker], start=day, end=day)
    models = session.warehouse.read(TRAINED_MODEL, tickers=[ticker], end=day).to_dict("records")
    model = row_in_use(models, ticker, pd.Timestamp(day))
    first = rows.iloc[0]
    per_horizon = rows.drop(columns=["ticker", "date", "last_close", "model_version", "method", "fallback"])
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
