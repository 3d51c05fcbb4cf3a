"""Random histories on DuckDB."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stockcast_assets_tests.warehouse.crashes import live
from stockcast_assets_tests.warehouse.histories import LENGTH, LONG, SHORT, DuckDBHistory


@pytest.mark.timeout(1800)
def test_any_history_leaves_exactly_what_was_accepted(
    record_property: Callable[[str, object], None], tmp_path: Path, long_form: bool
) -> None:
    DuckDBHistory.folder = tmp_path
    steps = LONG if long_form else SHORT
    live(DuckDBHistory, steps, LENGTH)
    record_property("random steps on DuckDB", DuckDBHistory.steps)
    assert DuckDBHistory.steps >= steps
