"""`stockcast reports`: the stored drift reports and how long they are kept."""

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.tables import print_json
from stockcast_assets.cli.terminal import out
from stockcast_assets.orchestration.build import reports_from
from stockcast_assets.orchestration.home import check_home
from stockcast_assets.settings import load_settings


def prune(call: Invocation, keep_days: int | None, dry_run: bool) -> None:
    """Remove old reports and print their names.

    Raises:
        StockcastError: if STOCKCAST_HOME or the place of the reports cannot be used.
    """
    settings = load_settings()
    check_home(settings)
    store = reports_from(settings)
    days = settings.reports_keep_days if keep_days is None else keep_days
    pruned = store.prune(days, dry_run)
    if call.as_json:
        print_json(
            {
                "reports": store.location,
                "keep_days": days,
                "dry_run": dry_run,
                "removed": list(pruned.removed),
                "kept": pruned.kept,
            }
        )
        return
    what = "would be removed" if dry_run else "removed"
    out.print(
        f"{len(pruned.removed)} files {what}, {pruned.kept} kept in {store.location}: "
        f"{days} days up to each ticker's newest report.",
        soft_wrap=True,
    )
    for name in pruned.removed if dry_run else ():
        out.print(f"  {name}")
