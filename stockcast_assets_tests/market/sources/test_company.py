"""What companies are called: whatever a source says, it is a short line of visible characters, or nothing."""

from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.market.sources.base import COMPANY, company_name
from stockcast_assets.market.sources.sample import SampleSource


@given(said=st.one_of(st.text(), st.none(), st.integers(), st.lists(st.text()), st.dictionaries(st.text(), st.text())))
def test_a_name_is_a_short_line_that_can_be_seen(said: Any) -> None:
    name = company_name(said)
    if not isinstance(said, str):
        assert name is None
    if name is not None:
        assert name.isprintable()
        assert name == name.strip() == company_name(name)
        assert 0 < len(name) <= 60


def test_the_sample_says_what_its_companies_are_called() -> None:
    bars = SampleSource().bars("IBM", date(2013, 2, 27), date(2013, 3, 1))
    assert bars.attrs[COMPANY] == "International Business Machines"
