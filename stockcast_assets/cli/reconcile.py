"""`stockcast reconcile`: make the warehouse, Dagster and MLflow agree again."""

from contextlib import ExitStack

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import Session, open_session, resumable
from stockcast_assets.cli.tables import print_json
from stockcast_assets.cli.terminal import err, warn
from stockcast_assets.errors import StockcastError
from stockcast_assets.orchestration.build import registry_from
from stockcast_assets.orchestration.planning import reconcile
from stockcast_assets.orchestration.planning.reconcile import Parted

_MOST_ROUNDS = 10
"""Stages that come back one after the other, and some for rows that go meanwhile."""


def run(call: Invocation, dry_run: bool) -> None:
    """Say what parted and mend it.

    Raises:
        StockcastError: if a run fails, or something is still lost at the end.
    """
    with open_session(call, models=True) as session, ExitStack() as held, resumable(session):
        parted = _survey(session)
        assets, tickers = parted.written
        if not dry_run and assets:
            # A run of somebody else may be between storing rows and recording them.
            held.enter_context(session.runner.turn(assets, tickers))
            parted = _survey(session, in_turn=True)
        registry = registry_from(session.settings)
        months = reconcile.unreadable_models(session.warehouse, registry, parted.tickers)
        sentences = parted.sentences()
        if months:
            sentences.append(
                f"The newest model of {', '.join(months)} cannot be read: `stockcast reconcile` trains it again."
            )
        if not dry_run:
            session.require_rows_here()
        if not call.as_json:
            # Before it is mended, as it is found.
            for sentence in sentences or [f"{parted.place}, Dagster and MLflow agree."]:
                err.print(sentence, soft_wrap=True)
        if not dry_run:
            told = reconcile.tell_dagster(session.instance, parted)
            _restore(session, parted)
            if session.settings.shared_network:
                lost = reconcile.unreadable_networks(session.warehouse, registry, parted.tickers)
                for launch in reconcile.training_networks(lost):
                    session.runner.run(launch)
            # What was lost of the models' own table is back by now, and with it perhaps the models.
            for launch in reconcile.training(reconcile.unreadable_models(session.warehouse, registry, parted.tickers)):
                session.runner.run(launch)
        runs = [str(launch) for launch, _ in session.runner.finished] if not dry_run else []
        if call.as_json:
            print_json({"found": sentences, "told": 0 if dry_run else told, "runs": runs})
        elif sentences and not dry_run:
            keys, made = "key" if told == 1 else "keys", "run" if len(runs) == 1 else "runs"
            err.print(f"Done: {told:,} {keys} told to Dagster, {len(runs)} {made}.", soft_wrap=True)


def _survey(session: Session, in_turn: bool = False) -> Parted:
    return reconcile.survey(session.instance, session.warehouse, session.other_warehouse, in_turn)


def _restore(session: Session, parted: Parted) -> None:
    for _ in range(_MOST_ROUNDS):
        launches = reconcile.next_restoring(parted)
        if not launches:
            return
        for launch in launches:
            session.runner.run(launch)
        parted = _survey(session, in_turn=True)
    raise StockcastError(
        f"Rows in {parted.place} are lost as fast as they are made: see what else writes there, and run "
        "`stockcast reconcile` again."
    )


def at_start(session: Session, read_only: bool) -> None:
    """Before a server: tell Dagster, unless it is only read, of rows it does not know, and people of what is lost."""
    try:
        parted = _survey(session)
        if not read_only and reconcile.tell_dagster(session.instance, parted, reconcile.TOLD_AT_START):
            parted = _survey(session)
    except StockcastError as error:
        # Who looks for what is wrong with the warehouse needs the pages.
        warn(f"What is stored was not compared with what Dagster remembers: {error}")
        return
    for sentence in parted.sentences():
        warn(sentence)
