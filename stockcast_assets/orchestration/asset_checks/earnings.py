"""The check `still_reports`: is anything new heard of the companies that report?"""

import dagster as dg

from stockcast_assets.clock import utc_today
from stockcast_assets.libraries import pd
from stockcast_assets.market.earnings import FILED, known
from stockcast_assets.orchestration.assets.bars import read_bars
from stockcast_assets.orchestration.assets.specs import has_keys
from stockcast_assets.orchestration.planning.ranges import known_tickers
from stockcast_assets.tables import EARNINGS_DATES
from stockcast_assets.warehouse import Warehouse

LONGEST = 200
"""Days after which a company that reports each quarter, or each half year, has reported again."""


def unheard(reports: "pd.DataFrame", newest: "pd.Series") -> dict[str, str]:
    """The tickers that reported before and of which nothing more is heard, with a sentence each.

    Args:
        reports: rows of `earnings_dates`.
        newest: by ticker the day of its newest bar, up to which a report should have been heard of.
    """
    holds = known(reports, pd.Timestamp.max)
    last = holds[holds["kind"] == FILED].groupby("ticker")["date"].max()
    return {
        str(ticker): f"{ticker} last reported on {last[str(ticker)]:%Y-%m-%d}"
        for ticker, day in newest.items()
        if ticker in last and day - last[str(ticker)] > pd.Timedelta(days=LONGEST)
    }


def build_still_reports() -> dg.AssetChecksDefinition:
    """The check of `earnings_dates`."""

    @dg.asset_check(
        asset=EARNINGS_DATES.name,
        name="still_reports",
        description=(
            f"No ticker that reported before has been silent for {LONGEST} days. A warning: its source has no more on "
            "it, so reports are expected by last year's until they are given up; a CSV file of reports supplies them."
        ),
        blocking=False,
        config_schema={},
    )
    def still_reports(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        tickers = list(context.partition_keys) if has_keys(context) else known_tickers(context.instance)
        bars = read_bars(warehouse, tickers, utc_today())
        found = unheard(warehouse.read(EARNINGS_DATES, tickers=tickers), bars.groupby("ticker")["date"].max())
        return dg.AssetCheckResult(
            passed=not found,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(found.values()) + "." if found else f"{len(tickers)} tickers looked at.",
            metadata={"tickers at fault": len(found)},
        )

    return still_reports
