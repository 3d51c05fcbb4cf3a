"""`stockcast tune`: search hyper-parameters, as a Dagster run of the asset `tuning`."""

from collections.abc import Sequence
from dataclasses import replace

import dagster as dg

from stockcast_assets.cli.days import checked_tickers, latest_session
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import Session, open_session, resumable
from stockcast_assets.cli.tables import Row, print_json, print_table
from stockcast_assets.cli.terminal import stacked
from stockcast_assets.errors import StockcastError
from stockcast_assets.orchestration.assets.tuning import FED, TUNING
from stockcast_assets.orchestration.planning.launch import COMMAND, Launch
from stockcast_assets.orchestration.planning.ranges import add_tickers, known_tickers


def run(call: Invocation, asked: Sequence[str], every: bool, trials: int) -> None:
    """Add trials to the study of each ticker, or of every ticker there is, and print what they found."""
    with open_session(call, models=True, tunings=True) as session:
        session.require_rows_here()
        tickers = _tickers(session, asked, every)
        add_tickers(session.instance, tickers)
        source = session.sources.get()
        reason = replace(COMMAND, config=(("trials", trials),))
        with resumable(session):
            session.runner.ingest({name: latest_session(session.settings, source, name) for name in tickers})
            session.runner.run(Launch((TUNING,), tuple(tickers), reason=reason))
        rows = [_result(session.instance, name) for name in tickers]
        if call.as_json:
            print_json({"tickers": rows})
            return
        print_table(
            "Tuning, on validation sessions only",
            ["ticker", "trials", "best / defaults", "95 % interval", "best parameters", "next training"],
            [
                [
                    row["ticker"],
                    row["trials"],
                    f"{row['ratio']:.4f}",
                    f"{row['low']:.4f} to {row['high']:.4f}",
                    stacked(*(f"{name} {_short(value)}" for name, value in row["best"].items())),
                    "these" if row["fed"] else "the defaults",
                ]
                for row in rows
            ],
        )
        print_table("In words", ["ticker", "result"], [[row["ticker"], row["result"]] for row in rows])
        print_table("MLflow", ["ticker", "runs"], [[row["ticker"], row["mlflow"]] for row in rows])


def _tickers(session: Session, asked: Sequence[str], every: bool) -> list[str]:
    if every and not asked:
        known = known_tickers(session.instance)
        if not known:
            raise StockcastError("There is no ticker yet: add one with `stockcast tickers add MSFT`.")
        return known
    if not asked or every:
        raise StockcastError("Name tickers, or --all for every ticker there is.")
    return checked_tickers(session.settings, session.sources.get(), asked)


def _result(instance: dg.DagsterInstance, ticker: str) -> Row:
    wanted = dg.AssetRecordsFilter(dg.AssetKey(TUNING), asset_partitions=[ticker])
    materialization = instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
    shown = {} if materialization is None else {name: value.value for name, value in materialization.metadata.items()}
    return {
        "ticker": ticker,
        "trials": shown["trials"],
        "ratio": shown["validation pinball / defaults"],
        "low": shown["lower end (95 %)"],
        "high": shown["upper end (95 %)"],
        "deflated_gain": shown["gain less luck"],
        "probability_by_luck": shown["probability by luck"],
        "best": shown["best parameters"],
        "fed": shown[FED],
        "result": shown["result"],
        "mlflow": shown["MLflow"],
    }


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
