"""One interface for what is kept in a folder and in a bucket, whoever keeps it there: reports, and uploads."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.sources.uploads import BucketUploads, FolderUploads
from stockcast_assets.places import BucketFiles, Files, FolderFiles, at_place

KINDS = {"files": (FolderFiles, BucketFiles), "uploads": (FolderUploads, BucketUploads)}


@pytest.fixture(params=[(where, kind) for where in ("folder", "bucket") for kind in KINDS], ids="-".join)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Files]:
    """Makes an empty place."""
    where, kind = request.param
    if where == "folder":
        root = str(tmp_path)
    else:
        bucket = request.getfixturevalue("storage_client").create_bucket(f"places-{uuid.uuid4()}")
        root = f"gs://{bucket.name}/below"
    return lambda: at_place(f"{root}/{uuid.uuid4()}/daily", "STOCKCAST_REPORTS", *KINDS[kind], "test")


NAMES = st.lists(st.from_regex(r"[A-Za-z0-9=^&ü-][A-Za-z0-9=^&ü -]{0,8}", fullmatch=True), min_size=1, max_size=3).map(
    "/".join
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.dictionaries(NAMES.map("{}.json".format), st.text(max_size=20), max_size=3)),
        st.tuples(st.just("delete"), st.lists(NAMES.map("{}.json".format), max_size=3)),
    ),
    max_size=6,
)


@example([("write", {"a/b.json": "1\r\n2\r3\n"})])
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_any_history_is_that_of_a_dict(make: Callable[[], Files], steps: list[tuple[str, object]]) -> None:
    place, model = make(), {}
    for step, what in steps:
        if step == "write":
            place.write(what)
            model |= what
        else:
            # What was never there, and half of what is.
            gone = [*what, *sorted(model)[::2]]
            place.delete(gone)
            model = {name: text for name, text in model.items() if name not in gone}
        assert place.names() == sorted(model)
        for name, text in model.items():
            assert place.text(name) == text
    assert place.text("never/there.json") is None
    for name in model:
        assert place.address(name).endswith(f"daily/{name}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("location", ["gs://", "gs:///x"])
def test_a_place_without_a_bucket_names_the_setting(kind: str, location: str) -> None:
    with pytest.raises(StockcastError, match="names no bucket: write STOCKCAST_X as gs://bucket/prefix"):
        at_place(location, "STOCKCAST_X", *KINDS[kind])
