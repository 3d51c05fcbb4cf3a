"""Every tag that runs and assets carry, and nothing else: who reads one also reads what others wrote into it.

Dagster's own are here by their text, so that no private module is imported for a string.
"""

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"
PRIORITY = "dagster/priority"

KEY = "stockcast/key"
"""Of every asset and job: what a key of it is. `tag:"stockcast/key"="ticker-day"` selects what runs every night."""

STAGE = "stockcast/stage"
"""Of every run that a plan asked for: its reason's kind."""

LATE = "stockcast/late"
"""Of a run that late tickers stopped: which, comma-separated."""

REPAIR = "stockcast/repair"
"""Of a run that fetches again what was observed: the observation."""

RESTORE = "stockcast/restore"
"""Of a run that makes lost rows again: the run that had stored them."""

RETRAIN = "stockcast/retrain"
"""Of a run that trains again within the month: when and why, in words."""

UPLOAD = "stockcast/upload"
"""Of a run that an uploaded file asked for: its name and version."""

EARNINGS = "stockcast/earnings"
"""Of a run that asks for earnings reports as it does every evening: the day."""

LAUNCHED_BY = "stockcast/launched_by"
"""Of a run that no schedule or sensor launched; Dagster tags those itself."""
