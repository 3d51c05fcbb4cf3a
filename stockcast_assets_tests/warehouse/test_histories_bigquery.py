"""Random histories on BigQuery's emulator, through a proxy that injects faults."""

from collections.abc import Callable

import pytest

from stockcast_assets_tests.warehouse.crashes import live
from stockcast_assets_tests.warehouse.fault_proxy import fault_proxy
from stockcast_assets_tests.warehouse.histories import LENGTH, LONG, SHORT, BigQueryHistory


@pytest.mark.timeout(1800)
def test_any_history_leaves_exactly_what_was_accepted(
    record_property: Callable[[str, object], None],
    bigquery_emulator: str,
    monkeypatch: pytest.MonkeyPatch,
    long_form: bool,
) -> None:
    steps = LONG if long_form else SHORT
    with fault_proxy(bigquery_emulator) as proxy:
        BigQueryHistory.proxy = proxy
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", proxy.address)
        live(BigQueryHistory, steps, LENGTH)
    record_property("random steps on BigQuery", BigQueryHistory.steps)
    assert BigQueryHistory.steps >= steps
