"""The count of requests to Yahoo, in a file and on a real Valkey."""

import getpass
import time
from collections.abc import Iterator

import pytest
from pyrate_limiter import AbstractBucket, Rate, RateItem
from redis import Redis

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.sources import rate_limit
from stockcast_assets.market.sources.rate_limit import FileBucket, ServerBucket

WINDOW_MS = 60_000


@pytest.fixture(params=["file", "server"])
def bucket(request, tmp_path) -> Iterator[AbstractBucket]:
    """A count of three requests a minute, kept where several processes can see it."""
    rates = [Rate(3, WINDOW_MS)]
    if request.param == "file":
        yield FileBucket.init_from_file(rates, db_path=str(tmp_path / "requests.sqlite"), use_file_lock=True)
    else:
        with Redis.from_url(request.getfixturevalue("valkey")) as client:
            client.flushall()
            yield ServerBucket.init(rates, client, "requests")


@pytest.mark.parametrize("behind_ms", [-86_400_000, -WINDOW_MS, -1000, -1, 0, 1000, 86_400_000])
def test_a_caller_whose_clock_differs_or_who_was_held_up_is_counted_like_any(bucket, behind_ms):
    told = time.time_ns() // 1_000_000 - behind_ms
    kept = [bucket.put(RateItem("yahoo", told + number * behind_ms)) for number in range(5)]
    assert kept == [True, True, True, False, False]
    assert abs(bucket.peek(0).timestamp - time.time_ns() // 1_000_000) < WINDOW_MS
    assert 0 < bucket.waiting(RateItem("yahoo", bucket.now())) <= WINDOW_MS + 1000


def test_a_caller_that_died_while_it_counted_holds_up_nobody_for_long(valkey, monkeypatch):
    monkeypatch.setattr(rate_limit, "_TURN_S", 0.2)
    with Redis.from_url(valkey) as client:
        client.flushall()
        bucket = ServerBucket.init([Rate(3, WINDOW_MS)], client, "requests")
        assert client.lock("requests:turn", timeout=rate_limit._TURN_S).acquire()
        assert bucket.put(RateItem("yahoo", 0))


def test_without_a_shared_file_the_rate_limit_is_the_process_own(tmp_path, monkeypatch, caplog):
    blocked = tmp_path / f"stockcast-{getpass.getuser()}"
    blocked.write_text("not a folder")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert rate_limit.own_limiter.__wrapped__().try_acquire("yahoo")
    assert "holds for this process alone" in caplog.text


def test_a_counter_that_does_not_answer_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("STOCKCAST_RATE_LIMIT", "redis://:hunter2-canary@127.0.0.1:9/0")
    with pytest.raises(
        StockcastError, match=r"STOCKCAST_RATE_LIMIT=redis://.*127\.0\.0\.1:9/0 does not answer"
    ) as told:
        rate_limit.shared_limiter.__wrapped__()
    assert "hunter2" not in str(told.value)
