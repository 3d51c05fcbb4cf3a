"""`stockcast warehouse`: what is stored against what is declared, and from one warehouse to the other."""

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict

import typer

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import open_session
from stockcast_assets.cli.tables import print_json, print_table
from stockcast_assets.cli.terminal import err, out, styled
from stockcast_assets.errors import StockcastError
from stockcast_assets.operations.looker import create_views
from stockcast_assets.orchestration.build import warehouse_from
from stockcast_assets.settings import Settings
from stockcast_assets.tables import STORED_TABLES
from stockcast_assets.warehouse import Warehouse
from stockcast_assets.warehouse.transfer import Comparison, Copy, compare, copy

KINDS = ("duckdb", "bigquery")


def _python(database: str) -> str:
    code = f"import duckdb; print(duckdb.connect({database!r}).sql(input('SQL: ')))"
    return shlex.join([sys.executable, "-c", code])


# What runs a statement that is typed or pasted into it; DuckDB's own shell is not among its Python packages.
_CONSOLES: Mapping[str, Callable[[str], str]] = {
    "duckdb": _python,
    "bigquery": lambda dataset: "bq query --use_legacy_sql=false",
}


def check(call: Invocation) -> None:
    """Print how each declared table is stored; exit status 1 if one is stored otherwise."""
    with open_session(call) as session:
        place, compared = session.warehouse.place, compare(session.warehouse, STORED_TABLES)
        console = _CONSOLES[session.warehouse.kind](place)
    differing = [(each.table, different) for each in compared for different in each.differences]
    if call.as_json:
        print_json({"warehouse": place, "tables": [asdict(each) | {"state": _state(each)} for each in compared]})
    else:
        print_table(f"Tables in {place}", ["table", "state"], [[each.table, _state(each)] for each in compared])
        for table, different in differing:
            out.print(f"{table}.{different.column}: {_words(different.stored, different.declared)}")
            if different.migration:
                # A statement is there to be copied, so it is neither wrapped nor coloured.
                out.print(f"  {different.migration};", soft_wrap=True)
        if any(different.migration for _, different in differing):
            out.print(f"To run SQL: {console}", soft_wrap=True)
    if differing:
        raise typer.Exit(1)


def _state(compared: Comparison) -> str:
    if not compared.created:
        return "not created yet"
    return "differs" if compared.differences else "as declared"


def _words(stored: str | None, declared: str | None) -> str:
    if stored is None:
        return f"declared as {declared} and not stored yet; the next run of its asset adds it"
    if declared is None:
        return f"stored as {stored} and no longer declared; if its values may go, run"
    return f"stored as {stored} but declared as {declared}; to migrate, run"


def copy_tables(call: Invocation, source: str, target: str, overwrite: bool) -> None:
    """Copy every table from one warehouse to the other and print what arrived.

    Raises:
        StockcastError: if the two are not both and each once, and as `transfer.copy` does.
    """
    for option, kind in (("--from", source), ("--to", target)):
        if kind not in KINDS:
            raise StockcastError(f"{option} {kind} is no warehouse: choose one of {' and '.join(KINDS)}.")
    if source == target:
        raise StockcastError(f"--from and --to are both {source}: name one of {' and '.join(KINDS)} each.")
    with open_session(call) as session:
        origin, destination = _warehouse(session.settings, source), _warehouse(session.settings, target)
        again = f"`stockcast warehouse copy --from {source} --to {target} --overwrite`"
        copies = copy(origin, destination, STORED_TABLES, overwrite=overwrite, overwriting=again, done=_tell)
    if call.as_json:
        print_json({"from": origin.place, "to": destination.place, "tables": [asdict(each) for each in copies]})
        return
    print_table(
        f"From {origin.place} to {destination.place}",
        ["table", "rows", "sha256"],
        [[each.table, each.rows, each.sha256[:12]] for each in copies],
    )
    out.print(f"To use it, set STOCKCAST_WAREHOUSE={target}.", style="dim")


def sweep(call: Invocation) -> None:
    """Drop the staging tables of dead runs and print their names; a warehouse without stages has none."""
    with open_session(call) as session:
        place, dropped = session.warehouse.place, session.warehouse.drop_orphans()
    if call.as_json:
        print_json({"warehouse": place, "dropped": dropped})
        return
    out.print(f"{len(dropped)} staging tables dropped in {place}.")
    for name in dropped:
        out.print(f"  {name}")


def views(call: Invocation) -> None:
    """Create or renew the views of Looker Studio and print their names."""
    with open_session(call) as session:
        if session.settings.warehouse != "bigquery":
            raise StockcastError(
                "Looker Studio reads BigQuery, and these tables are in DuckDB: set STOCKCAST_WAREHOUSE=bigquery "
                "(`stockcast warehouse copy --from duckdb --to bigquery` brings the rows there)."
            )
        names = create_views(session.warehouse)
    if call.as_json:
        print_json({"views": names})
        return
    out.print(f"{len(names)} views for Looker Studio (docs/looker.md says how to connect):")
    for name in names:
        out.print(f"  {name}")


def _warehouse(settings: Settings, kind: str) -> Warehouse:
    if kind == "bigquery" and not settings.gcp_project:
        raise StockcastError("STOCKCAST_GCP_PROJECT is not set, and the BigQuery warehouse needs it.")
    return warehouse_from(settings.model_copy(update={"warehouse": kind}))


def _tell(copied: Copy) -> None:
    what = "copied and verified" if copied.written else "the same already"
    err.print(styled(("✓", "green"), f" {copied.table} ", (f"{copied.rows} rows, {what}", "dim")))
