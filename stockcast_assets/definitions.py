"""The code location that Dagster loads: the definitions for the settings of this process."""

from stockcast_assets.orchestration.build import build_definitions, warehouse_from
from stockcast_assets.settings import load_settings

__all__ = ["build_definitions", "defs", "warehouse_from"]

defs = build_definitions(load_settings())
