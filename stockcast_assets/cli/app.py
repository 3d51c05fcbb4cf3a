"""The `stockcast` command."""

import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from stockcast_assets.cli import completion, parse
from stockcast_assets.cli.invocation import PARTS_STORED, Invocation
from stockcast_assets.cli.parse import (
    AsKnownOn,
    Month,
    NewTickers,
    Opened,
    OptionalTickers,
    SomeTickers,
    Ticker,
    TickerList,
    Tickers,
    TickersAndDay,
    day_option,
    tell_version,
)
from stockcast_assets.cli.terminal import err, guard_logs_and_tracebacks
from stockcast_assets.errors import StockcastError
from stockcast_assets.private_files import private_process
from stockcast_assets.stopping import stoppable

app = typer.Typer(
    name="stockcast",
    help="Trustworthy daily stock forecasts as Dagster assets.",
    epilog="--json, --quiet and --debug may stand before or after any command.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
tickers_app = typer.Typer(help="The tickers that are forecast.", no_args_is_help=True)
app.add_typer(tickers_app, name="tickers")
warehouse_app = typer.Typer(help="The tables, wherever they are stored.", no_args_is_help=True)
app.add_typer(warehouse_app, name="warehouse")
reports_app = typer.Typer(help="The stored drift reports.", no_args_is_help=True)
app.add_typer(reports_app, name="reports")
ledger_app = typer.Typer(help="What was published, and whether it still stands as it was.", no_args_is_help=True)
app.add_typer(ledger_app, name="ledger")
home_app = typer.Typer(help="What is stored on this machine.", no_args_is_help=True)
app.add_typer(home_app, name="home")


@app.callback()
def _global(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Results, warnings and errors only.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show Dagster's log, and tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=tell_version, is_eager=True)
    ] = False,
) -> None:
    err.quiet = quiet
    ctx.obj = Invocation(as_json, debug, tuple(sys.argv[1:]))


# The commands import what they do when they run: `stockcast --help` should not wait for Dagster.


@app.command()
def demo(
    ctx: typer.Context,
    sessions: Annotated[int, typer.Option(min=1, max=250, help="How many of the last sessions to forecast.")] = 20,
) -> None:
    """Run the whole graph on the bundled history of AAPL, GOOG, IBM and MSFT; no network."""
    from stockcast_assets.cli import demo as command

    with ctx.obj.repeatable(PARTS_STORED):
        command.run(ctx.obj, sessions)


@app.command(epilog="For example: stockcast forecast MSFT, stockcast forecast AAPL MSFT 2026-06-12 --json")
def forecast(
    ctx: typer.Context,
    words: TickersAndDay,
) -> None:
    """Bring tickers up to a date and print the forecast of their next 10 sessions."""
    from stockcast_assets.cli import forecast as command

    with ctx.obj.repeatable(PARTS_STORED):
        command.run(ctx.obj, *parse.tickers_and_day(words))


@app.command(epilog="For example: stockcast backfill AAPL MSFT --from 2026-05-04 --missing-only")
def backfill(
    ctx: typer.Context,
    words: OptionalTickers = None,
    tickers: TickerList = None,
    first: Annotated[str | None, day_option("--from", "First day, YYYY-MM-DD; default the first daily key.")] = None,
    last: Annotated[str | None, day_option("--to", "Last day, YYYY-MM-DD; default the newest session.")] = None,
    assets: Annotated[str | None, typer.Option(help="Comma-separated assets; default all.")] = None,
    missing_only: Annotated[
        bool,
        typer.Option("--missing-only", help="Only keys that are not there or have lost their rows: resumes."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what it would take, and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a long backfill.")] = False,
    source: Annotated[
        str | None, typer.Option(help="Where the bars come from: yahoo, csv or sample; default each ticker's own.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove stored bars that the source does not send; they stay otherwise.")
    ] = False,
    queued: Annotated[
        bool, typer.Option("--queued", help="Let the daemon have the runs launched, side by side, and wait for them.")
    ] = False,
) -> None:
    """Materialise assets again for tickers and a range of days, exactly."""
    from stockcast_assets.cli import backfill as command

    manner = command.Options(missing_only, dry_run, yes, source, replace, queued)
    with ctx.obj.repeatable(PARTS_STORED):
        command.run(ctx.obj, list(dict.fromkeys([*(words or ()), *(tickers or ())])), first, last, assets, manner)


@app.command(epilog="For example: stockcast evaluate AAPL MSFT")
def evaluate(
    ctx: typer.Context,
    tickers: Annotated[
        list[str] | None,
        typer.Argument(
            help=f"Tickers, {parse.LIST}, for example AAPL MSFT; with --bars default all.",
            callback=parse.some_tickers,
            autocompletion=completion.ticker_list,
        ),
    ] = None,
    first: Annotated[
        str | None,
        typer.Option("--from", help="First as-of day, YYYY-MM-DD; default January, four years before the last year."),
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="Last as-of day, YYYY-MM-DD; default the newest with known outcomes.")
    ] = None,
    with_statistical: Annotated[
        bool,
        typer.Option(
            "--with-statistical",
            help="AutoETS, Theta and GJR-GARCH-t as well, with --bars GJR-GARCH-t and LightGBM (extra `stats`).",
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="HTML file to write; default in STOCKCAST_HOME/reports/evaluation, with --bars none."),
    ] = None,
    bars: Annotated[
        list[Path] | None,
        typer.Option(help="CSV file of bars, of any vendor and of any number of tickers; may be given several times."),
    ] = None,
    earnings: Annotated[
        Path | None, typer.Option(help="With --bars: CSV file of their earnings reports, Ticker,Date[,When][,Known].")
    ] = None,
    train_on: Annotated[
        str | None, typer.Option(help="With --bars: the tickers that the network learns from; default all.")
    ] = None,
    contender: Annotated[
        list[str] | None,
        typer.Option(
            help="A class or function of yours to judge as well, my_module:Model or file.py:Model; again for each."
        ),
    ] = None,
    as_known_on: AsKnownOn = None,
) -> None:
    """Walk forward through the stored history: the LSTM against every baseline, with 95 % intervals.

    With --bars through the history of files instead, by one network for all of their tickers; nothing is stored.
    """
    from stockcast_assets.cli.beside import Beside

    beside = Beside(with_statistical, tuple(contender or ()))
    if bars or earnings or train_on:
        from stockcast_assets.cli import evaluate_files

        if as_known_on is not None:
            raise StockcastError(
                "--as-known-on is of what the home stores, and --bars are files: leave one of them out."
            )
        judged = ",".join(tickers) if tickers else None
        with ctx.obj.repeatable():
            evaluate_files.run(ctx.obj, judged, bars or (), earnings, first, last, train_on, beside, report)
        return
    from stockcast_assets.cli import evaluate as command

    with ctx.obj.repeatable():
        command.run(ctx.obj, tickers, first, last, beside, report, as_known_on)


@app.command(epilog="For example: stockcast explain MSFT 2026-06-12 --replay")
def explain(
    ctx: typer.Context,
    ticker: Ticker,
    day: Annotated[str, parse.day("As-of session of the stored forecast, YYYY-MM-DD.")],
    replay: Annotated[
        bool,
        typer.Option("--replay", help="Make the forecast again and compare bit for bit; exit status 1 if it differs."),
    ] = False,
    as_known_on: AsKnownOn = None,
) -> None:
    """Where a stored forecast came from: model, MLflow run, weights, bars, code and the gate's reason."""
    from stockcast_assets.cli import explain as command

    with ctx.obj.repeatable():
        command.run(ctx.obj, ticker, day, replay, as_known_on)


@app.command(epilog="For example: stockcast risk holdings.csv, stockcast risk --holdings holdings.csv 2026-06-12")
def risk(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE] [DATE]",
            help="CSV file `ticker,quantity`, and the as-of day, YYYY-MM-DD; default the newest with all forecasts.",
        ),
    ] = None,
    holdings: Annotated[Path | None, typer.Option(help="The same file.")] = None,
    as_known_on: AsKnownOn = None,
) -> None:
    """What holdings may lose in the next 10 sessions, whose risk it is, and whether such losses were foreseen."""
    from stockcast_assets.cli import risk as command

    command.run(ctx.obj, *command.file_and_day(words or [], holdings), as_known_on)


@app.command(epilog="For example: stockcast card MSFT 2026-06")
def card(ctx: typer.Context, ticker: Ticker, month: Month = None, as_known_on: AsKnownOn = None) -> None:
    """The model card of a ticker and month: data, training, proof, live scores, known limits; as Markdown."""
    from stockcast_assets.cli import card as command

    command.run(ctx.obj, ticker, month, as_known_on)


@app.command(epilog="For example: stockcast compare MSFT")
def compare(
    ctx: typer.Context,
    tickers: SomeTickers = None,
) -> None:
    """Every stored bar beside what STOCKCAST_SECOND_SOURCE says of it: which closes differ."""
    from stockcast_assets.cli import compare as command

    with ctx.obj.repeatable():
        command.run(ctx.obj, tickers or [])


@app.command(epilog="For example: stockcast inspect prices.csv")
def inspect(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV file with daily bars of any vendor, or with reports.")],
    ticker: Annotated[
        str | None, typer.Option(help="Ticker, if the file does not say it; of a file of several, the one to show.")
    ] = None,
) -> None:
    """How a file would be read: ticker, calendar, days, columns used and left. Nothing is stored."""
    from stockcast_assets.cli import inspect as command

    command.run(ctx.obj, file, ticker)


@app.command(epilog="For example: stockcast audit --mine features.py:momentum")
def audit(
    ctx: typer.Context,
    assets: Annotated[
        list[str] | None,
        typer.Option("--asset", help="What of stockcast's own to audit, again for each; default all of it."),
    ] = None,
    mine: Annotated[
        list[str] | None,
        typer.Option(help="A function or class of yours, my_module:function or file.py:function; again for each."),
    ] = None,
    bars: Annotated[
        list[Path] | None, typer.Option(help="CSV file of daily bars to audit on; default the bundled history.")
    ] = None,
    earnings: Annotated[
        Path | None, typer.Option(help="CSV file of earnings reports, Ticker,Date[,When][,Known]; with --bars.")
    ] = None,
    cuts: Annotated[int, typer.Option(min=1, max=1000, help="Days drawn to cut at, beside the eventful ones.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
) -> None:
    """Look for look-ahead: spoil all that comes after a day, and say what moved before it; exit status 1 if it did."""
    from stockcast_assets.cli import audit as command

    with ctx.obj.repeatable():
        command.run(ctx.obj, assets or [], mine or [], command.Data(tuple(bars or ()), earnings, cuts, seed))


@app.command(epilog="For example: stockcast tune MSFT --trials 50")
def tune(
    ctx: typer.Context,
    tickers: OptionalTickers = None,
    every: Annotated[bool, typer.Option("--all", help="Every ticker there is.")] = False,
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="Trials to add to each ticker's study.")] = 20,
) -> None:
    """Search better hyper-parameters on validation sessions; the next training uses them if they beat the defaults."""
    from stockcast_assets.cli import tune as command

    with ctx.obj.repeatable(PARTS_STORED):
        command.run(ctx.obj, tickers or [], every, trials)


@app.command(epilog="For example: stockcast reconcile --dry-run")
def reconcile(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what parted.")] = False,
) -> None:
    """Make the warehouse, Dagster and MLflow agree: lost rows and models are made again, unknown rows are told."""
    from stockcast_assets.cli import reconcile as command

    with ctx.obj.repeatable(PARTS_STORED):
        command.run(ctx.obj, dry_run)


@app.command(epilog="For example: stockcast status --as-known-on 2026-05-29")
def status(ctx: typer.Context, as_known_on: AsKnownOn = None) -> None:
    """What is stored: tables, tickers, their newest bars and forecasts."""
    from stockcast_assets.cli import status as command

    command.run(ctx.obj, as_known_on)


@app.command(epilog="For example: stockcast doctor")
def doctor(ctx: typer.Context) -> None:
    """Look at everything stockcast stands on, and say how to mend what is wrong; exit status 1 if something is."""
    from stockcast_assets.cli import doctor as command

    command.run(ctx.obj)


@app.command(epilog="For example: stockcast metrics --once")
def metrics(
    ctx: typer.Context,
    port: Annotated[int, typer.Option(help="Port of /metrics.")] = 9464,
    host: Annotated[str, typer.Option(help="Interface to listen on.")] = "127.0.0.1",
    once: Annotated[bool, typer.Option("--once", help="Print the numbers and end.")] = False,
) -> None:
    """Serve the numbers that Prometheus reads: runs, keys, bars, forecasts, the queue, the stages."""
    from stockcast_assets.cli import metrics as command

    command.run(ctx.obj, host, port, once)


@app.command(epilog="For example: stockcast worker --runs 2")
def worker(
    runs: Annotated[int, typer.Option(min=1, help="Runs that it executes at a time.")] = 1,
    queue: Annotated[str, typer.Option(help="Celery queue that it serves.")] = "dagster",
) -> None:
    """Execute the runs that the daemon hands to Celery, on this machine, until it is told to stop."""
    from stockcast_assets.cli import worker as command

    command.worker(runs, queue)


@app.command(epilog="For example: stockcast backup stockcast.tar.gz")
def backup(
    ctx: typer.Context, file: Annotated[Path, typer.Argument(help="File to write, for example stockcast.tar.gz.")]
) -> None:
    """Write the home into one file, also while it is in use: tables, models, Dagster's history, reports."""
    from stockcast_assets.cli import backup as command

    with ctx.obj.repeatable():
        command.back_up(ctx.obj, file)


@app.command(epilog="For example: stockcast restore stockcast.tar.gz")
def restore(ctx: typer.Context, file: Annotated[Path, typer.Argument(help="A file that `backup` wrote.")]) -> None:
    """Put a backup into STOCKCAST_HOME, where nothing may be yet."""
    from stockcast_assets.cli import backup as command

    with ctx.obj.repeatable():
        command.restore(ctx.obj, file)


@tickers_app.command("add", epilog="For example: stockcast tickers add TSLA VOD.L ETH-USD")
def tickers_add(
    ctx: typer.Context,
    tickers: NewTickers,
) -> None:
    """Add tickers; schedules forecast them from then on."""
    from stockcast_assets.cli import tickers as command

    command.add(ctx.obj, tickers)


@tickers_app.command("remove")
def tickers_remove(ctx: typer.Context, tickers: Tickers) -> None:
    """Stop forecasting tickers. Their stored rows stay."""
    from stockcast_assets.cli import tickers as command

    command.remove(ctx.obj, tickers)


@tickers_app.command("list")
def tickers_list(ctx: typer.Context) -> None:
    """The tickers, with their exchange calendars and states."""
    from stockcast_assets.cli import tickers as command

    command.show(ctx.obj)


@tickers_app.command("pause", epilog="For example: stockcast tickers pause TSLA --reason 'split next week'")
def tickers_pause(
    ctx: typer.Context,
    tickers: Tickers,
    reason: Annotated[str, typer.Option(help="Why, in words.")] = "",
) -> None:
    """Give tickers no more runs until they are resumed. Their stored rows stay."""
    from stockcast_assets.cli import tickers as command

    command.change(ctx.obj, tickers, "paused", reason)


@tickers_app.command("resume")
def tickers_resume(ctx: typer.Context, tickers: Tickers) -> None:
    """Bring paused, delisted or given-up tickers up again, and forecast every day from then on."""
    from stockcast_assets.cli import tickers as command

    command.change(ctx.obj, tickers, "active", "")


@tickers_app.command("delist", epilog="For example: stockcast tickers delist TWTR --reason acquired")
def tickers_delist(
    ctx: typer.Context,
    tickers: Annotated[
        list[str],
        typer.Argument(
            help=f"Tickers that trade no more, {parse.LIST}.",
            callback=parse.some_tickers,
            autocompletion=completion.ticker_list,
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why, in words: acquired, bankrupt, renamed …")],
) -> None:
    """Give tickers that trade no more no more runs, and say why. Their stored rows stay."""
    from stockcast_assets.cli import tickers as command

    command.change(ctx.obj, tickers, "delisted", reason)


@warehouse_app.command("check")
def warehouse_check(ctx: typer.Context) -> None:
    """Compare the stored tables with their declarations; exit status 1 if one differs."""
    from stockcast_assets.cli import warehouse as command

    command.check(ctx.obj)


@warehouse_app.command("copy", epilog="For example: stockcast warehouse copy --from duckdb --to bigquery")
def warehouse_copy(
    ctx: typer.Context,
    source: Annotated[str, typer.Option("--from", help="Warehouse to read: duckdb or bigquery.")],
    target: Annotated[str, typer.Option("--to", help="Warehouse to write: bigquery or duckdb.")],
    overwrite: Annotated[bool, typer.Option(help="Replace other rows that the target holds.")] = False,
) -> None:
    """Copy every table from one warehouse to the other, rows counted and hashed."""
    from stockcast_assets.cli import warehouse as command

    with ctx.obj.repeatable("the tables that are named above are copied, and no other was changed."):
        command.copy_tables(ctx.obj, source, target, overwrite)


@warehouse_app.command("sweep")
def warehouse_sweep(ctx: typer.Context) -> None:
    """Drop the staging tables that dead runs left in BigQuery; they expire after six hours anyway."""
    from stockcast_assets.cli import warehouse as command

    command.sweep(ctx.obj)


@warehouse_app.command("views")
def warehouse_views(ctx: typer.Context) -> None:
    """Create the BigQuery views that Looker Studio reads, or renew them."""
    from stockcast_assets.cli import warehouse as command

    command.views(ctx.obj)


@reports_app.command("prune")
def reports_prune(
    ctx: typer.Context,
    keep_days: Annotated[
        int | None, typer.Option(min=1, help="Days to keep; default STOCKCAST_REPORTS_KEEP_DAYS.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
) -> None:
    """Remove the drift reports older than so many days before their ticker's newest; the tables stay."""
    from stockcast_assets.cli import reports as command

    command.prune(ctx.obj, keep_days, dry_run)


@ledger_app.command("verify")
def ledger_verify(ctx: typer.Context, tickers: SomeTickers = None) -> None:
    """Prove that no row of the ledger was changed, removed or put in; else name the first bad row (exit status 1)."""
    from stockcast_assets.cli import ledger as command

    command.verify(ctx.obj, tickers)


@ledger_app.command("head")
def ledger_head(
    ctx: typer.Context,
    write: Annotated[bool, typer.Option("--write", help="Keep the heads in STOCKCAST_LEDGER_HEADS, too.")] = False,
) -> None:
    """Print the hash of all that was published so far: who knows it can prove later what was there."""
    from stockcast_assets.cli import ledger as command

    command.head(ctx.obj, write)


@home_app.command("clean-secrets")
def home_clean_secrets(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say where secrets are stored.")] = False,
) -> None:
    """Mask keys and passwords that older releases stored in the home; stop everything that uses it first."""
    from stockcast_assets.cli import home as command

    command.clean_secrets(ctx.obj, dry_run)


@home_app.command("move-history", epilog="For example: stockcast home move-history --from .stockcast/dagster")
def home_move_history(
    ctx: typer.Context,
    source: Annotated[
        Path | None, typer.Option("--from", help="The Dagster home to read; default STOCKCAST_HOME/dagster.")
    ] = None,
) -> None:
    """Move what Dagster remembers into the empty PostgreSQL that DAGSTER_HOME names; stop what uses it first."""
    from stockcast_assets.cli import home as command

    command.move_history(ctx.obj, source)


@home_app.command("move-models", epilog="For example: stockcast home move-models")
def home_move_models(ctx: typer.Context) -> None:
    """Move the models to MLflow's server, with its variables; start the server afterwards."""
    from stockcast_assets.cli import home as command

    command.move_models(ctx.obj)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    host: Annotated[str, typer.Option(help="Interface to listen on.")] = "127.0.0.1",
    read_only: Annotated[bool, typer.Option("--read-only", help="For viewers: nothing can be launched.")] = False,
    opened: Opened = False,
    workspace: Annotated[
        Path | None,
        typer.Option(help="Workspace file of a code location that runs elsewhere, as the daemon then does, too."),
    ] = None,
) -> None:
    """Open the Dagster UI, with daemon, on the same data."""
    from stockcast_assets.cli import servers as command

    command.ui(host, port, read_only, opened, workspace)


@app.command()
def dashboard(
    port: Annotated[int, typer.Option(help="Port of the dashboard.")] = 8501,
    host: Annotated[str, typer.Option(help="Interface to listen on.")] = "127.0.0.1",
    opened: Opened = False,
) -> None:
    """Open the dashboard on the same data."""
    from stockcast_assets.cli import servers as command

    command.dashboard(host, port, opened)


@app.command()
def mlflow(
    port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
    host: Annotated[str, typer.Option(help="Interface to listen on.")] = "127.0.0.1",
) -> None:
    """Open the MLflow UI on the same models."""
    from stockcast_assets.cli import servers as command

    command.mlflow(host, port)


def main() -> None:
    """Entry point; see `parse.run` for the exit status."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    guard_logs_and_tracebacks()
    with private_process(), stoppable():
        sys.exit(parse.run(app, sys.argv[1:]))
