"""Random histories on DuckDB."""

from pathlib import Path

import pytest

from stockcast_assets_tests.warehouse.histories import STEPS, DuckDBHistory, live


@pytest.mark.timeout(1800)
def test_any_history_leaves_exactly_what_was_accepted(tmp_path: Path) -> None:
    DuckDBHistory.folder = tmp_path
    live(DuckDBHistory)
    assert DuckDBHistory.steps >= STEPS >= 1000
