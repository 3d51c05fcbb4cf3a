"""What a page shows while a run holds the warehouse, and after."""

import pytest

from stockcast_assets.dashboard import cache
from stockcast_assets.errors import WarehouseBusyError


class Stored:
    """A warehouse of one number, which a run may hold."""

    def __init__(self) -> None:
        self.number, self.held, self.asked = 1, False, 0

    def read(self) -> int:
        self.asked += 1
        if self.held:
            raise WarehouseBusyError("held")
        return self.number


def test_a_page_waits_once_and_the_next_one_asks_again():
    stored = Stored()
    kept = cache.Cache(lambda: stored.number)
    cache.start_page()
    assert [kept.get(key, stored.read) for key in "ab"] == [1, 1]
    assert cache.shown_since() is None

    stored.number, stored.held, stored.asked = 2, True, 0
    cache.start_page()
    assert [kept.get(key, stored.read) for key in "ab"] == [1, 1]
    assert stored.asked == 1
    assert cache.shown_since() is not None
    with pytest.raises(WarehouseBusyError):
        kept.get("never read", stored.read)

    stored.held = False
    cache.start_page()
    assert [kept.get(key, stored.read) for key in "ab"] == [2, 2]
    assert cache.shown_since() is None, "nothing old is on the page, so nothing says that a run is writing"
