"""The checks of drift that lasts, and of lost coverage and skill."""

from collections.abc import Callable

import dagster as dg
import pytest

from stockcast_assets.orchestration.asset_checks.quality import QUALITY_CHECKS, judgement, quality_faults
from stockcast_assets.orchestration.asset_checks.thresholds import SCORED, WINDOW
from stockcast_assets.orchestration.build import build_definitions
from stockcast_assets.settings import Settings
from stockcast_assets_tests.automation.test_retraining import outcomes

CASES = {
    "no_lasting_drift": ({"inputs": (False,) * WINDOW}, {"residuals": (True,) * WINDOW}, "found drift of residuals"),
    "interval_covers": (outcomes(), outcomes(inside=0.5), "50% of the last 60 sessions"),
    "keeps_its_skill": (outcomes(), outcomes(ratio=1.5), "1.50 times that of the random walk"),
}
TOO_FEW = outcomes(inside=0.0, ratio=9.0, sessions=SCORED - 1)


@pytest.mark.parametrize("check", QUALITY_CHECKS, ids=lambda check: check.name)
def test_a_check_names_the_ticker_that_lost_it_and_no_other(check) -> None:
    good, bad, words = CASES[check.name]
    found = quality_faults(check, {"AAPL": good, "IBM": bad})
    assert list(found) == ["IBM"]
    assert words in found["IBM"]


def test_what_has_too_short_a_past_is_not_judged() -> None:
    for check in QUALITY_CHECKS:
        young = {"inputs": (True,) * 3} if check.name == "no_lasting_drift" else TOO_FEW
        assert quality_faults(check, {"NEW": young}) == {}
        assert not check.enough(young)
        assert check.enough(CASES[check.name][0])
    assert judgement(0, 4) == "Nothing was judged: none of 4 tickers has enough sessions yet"
    assert judgement(1, 4).startswith("1 of 4 tickers judged, the others")
    assert judgement(4, 4) == "4 tickers judged"


def test_every_quality_check_is_in_the_definitions_and_blocks_nothing(make_settings: Callable[..., Settings]) -> None:
    graph = build_definitions(make_settings()).resolve_asset_graph()
    for check in QUALITY_CHECKS:
        spec = graph.get_check_spec(dg.AssetCheckKey(dg.AssetKey(check.asset), check.name))
        assert spec.blocking is False
