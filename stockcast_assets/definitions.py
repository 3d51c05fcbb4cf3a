"""The code location that Dagster loads: the definitions for the settings of this process."""

import os
import warnings
from shlex import quote

from stockcast_assets import json_logs
from stockcast_assets.dagster_private import console
from stockcast_assets.orchestration.build import build_definitions, warehouse_from
from stockcast_assets.orchestration.home import require_one_world
from stockcast_assets.private_files import keep_to_oneself
from stockcast_assets.settings import load_settings

__all__ = ["build_definitions", "defs", "warehouse_from"]

# Whatever started this process: what it and its runs write is this account's alone.
keep_to_oneself()
_settings = load_settings()
if _settings.log_format == "json":
    json_logs.write_json()
    console.write_json()
require_one_world(_settings)
if "DAGSTER_HOME" not in os.environ:
    warnings.warn(
        f"Dagster was started without DAGSTER_HOME, so the runs and keys it shows are not those of {_settings.home}: "
        f"use `stockcast ui`, or set DAGSTER_HOME={quote(str(_settings.dagster_home))}.",
        stacklevel=1,
    )
defs = build_definitions(_settings)
