"""Folder and bucket behave alike: files are listed, read whole or not at all, set aside without a loss."""

import gzip
import os
import threading
import tracemalloc
import uuid
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from google.cloud import storage

from stockcast_assets.errors import StockcastError
from stockcast_assets.google import storage as cloud_storage
from stockcast_assets.market.sources import uploads as uploads_module
from stockcast_assets.market.sources.csvfile import CsvSource
from stockcast_assets.market.sources.uploads import (
    UploadChanged,
    Uploads,
    UploadTooLarge,
    UploadUnavailable,
    open_uploads,
    reject,
)

GOOD = "Date,Open,High,Low,Close,Volume\n2024-01-02,10,11,9,10,5\n"


class Folder:
    """A folder of uploads, and how a person puts and sees files there."""

    def __init__(self, path: Path) -> None:
        self.location = str(path)
        self.path = path
        path.mkdir()

    def put(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def names(self) -> set[str]:
        return {str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file()}

    def text(self, name: str) -> str:
        return (self.path / name).read_text()

    def remove(self, name: str) -> None:
        (self.path / name).unlink()


class Bucket:
    """A prefix of a bucket on a real Cloud Storage server, beside objects that are none of ours."""

    def __init__(self, bucket: storage.Bucket) -> None:
        self.location = f"gs://{bucket.name}/inbox/daily"
        self._bucket = bucket
        bucket.blob("NOT-OURS.csv").upload_from_string(GOOD)
        bucket.blob("inbox/daily-too/NOT-OURS.csv").upload_from_string(GOOD)

    def put(self, name: str, text: str) -> None:
        self._bucket.blob(f"inbox/daily/{name}").upload_from_string(text)

    def names(self) -> set[str]:
        blobs = self._bucket.client.list_blobs(self._bucket, prefix="inbox/daily/")
        return {blob.name.removeprefix("inbox/daily/") for blob in blobs}

    def text(self, name: str) -> str:
        return self._bucket.blob(f"inbox/daily/{name}").download_as_text()

    def remove(self, name: str) -> None:
        self._bucket.blob(f"inbox/daily/{name}").delete()


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path) -> Folder | Bucket:
    if request.param == "folder":
        return Folder(tmp_path / "inbox")
    client = request.getfixturevalue("storage_client")
    return Bucket(client.create_bucket(f"uploads-{uuid.uuid4()}"))


@pytest.fixture
def uploads(place) -> Uploads:
    return open_uploads(place.location, gcp_project="test")


def test_csv_files_are_listed_oldest_first(place, uploads):
    place.put("B.csv", GOOD)
    place.put("A.CSV", GOOD + "\n")
    place.put("notes.txt", GOOD)
    place.put(".hidden.csv", GOOD)
    place.put("rejected/C.csv", GOOD)
    place.put("deeper/D.csv", GOOD)
    listed = uploads.files()
    assert [upload.name for upload in listed] == ["B.csv", "A.CSV"]
    assert [upload.size for upload in listed] == [len(GOOD), len(GOOD) + 1]
    assert all(abs(upload.modified - pd.Timestamp.now("UTC")) < pd.Timedelta(minutes=5) for upload in listed)


def test_nothing_there(uploads):
    assert uploads.files() == []


def test_read_whole_beginning_and_empty(place, uploads):
    place.put("A.csv", GOOD)
    place.put("EMPTY.csv", "")
    full, empty = sorted(uploads.files(), key=lambda upload: upload.name)
    assert uploads.read(full) == GOOD.encode()
    assert uploads.read(full, first_bytes=4) == b"Date"
    assert uploads.read(full, first_bytes=10**6) == GOOD.encode()
    assert uploads.read(empty) == b""


def test_a_new_version_is_another_one_and_the_old_cannot_be_read_or_rejected(place, uploads):
    place.put("A.csv", GOOD)
    (before,) = uploads.files()
    place.put("A.csv", GOOD + "2024-01-03,10,11,9,10,5\n")
    (after,) = uploads.files()
    assert before.version != after.version
    with pytest.raises(UploadChanged, match=r"A.csv changed while it was read: try again"):
        uploads.read(before)
    with pytest.raises(UploadChanged):
        uploads.reject(before, "bad")
    assert place.names() == {"A.csv"}


def test_a_file_that_is_gone(place, uploads):
    place.put("A.csv", GOOD)
    (upload,) = uploads.files()
    place.remove("A.csv")
    with pytest.raises(UploadChanged):
        uploads.read(upload)
    with pytest.raises(UploadChanged):
        uploads.reject(upload, "bad")
    assert place.names() == set()


def test_too_large_is_not_read(place, uploads, monkeypatch):
    place.put("A.csv", GOOD)
    (upload,) = uploads.files()
    monkeypatch.setattr(uploads_module, "MAX_BYTES", 10)
    with pytest.raises(StockcastError, match=r"A.csv has 0.0 MB, .*split it by years"):
        uploads.read(upload)
    assert uploads.read(upload, first_bytes=4) == b"Date"


def test_rejecting_keeps_every_file_and_its_reason(place, uploads):
    for round_number in range(3):
        place.put("A.csv", f"bad {round_number}")
        (upload,) = uploads.files()
        moved = uploads.reject(upload, f"reason {round_number}")
        assert moved.endswith(["rejected/A.csv", "rejected/A.1.csv", "rejected/A.2.csv"][round_number])
        assert moved.startswith(place.location)
    assert place.names() == {
        f"rejected/{name}{suffix}" for name in ("A.csv", "A.1.csv", "A.2.csv") for suffix in ("", ".reason.txt")
    }
    assert place.text("rejected/A.1.csv") == "bad 1"
    assert place.text("rejected/A.1.csv.reason.txt") == "reason 1\n"
    assert uploads.files() == []


def test_rejecting_never_overwrites_a_file_without_a_reason(place, uploads):
    place.put("rejected/A.csv", "put there by hand")
    place.put("A.csv", "bad")
    assert uploads.reject(uploads.files()[0], "reason").endswith("rejected/A.1.csv")
    assert place.text("rejected/A.csv") == "put there by hand"


def test_the_csv_source_serves_and_rejects(place, uploads):
    place.put("NEW.csv", GOOD)
    place.put("bad.csv", "Ticker," + GOOD.replace("2024", "new,2024").replace("9,10", "-9,10"))
    source = CsvSource(uploads)
    with pytest.raises(StockcastError, match=r"bad.csv, line 2: the bar has low -9.*is now .*rejected/bad.csv"):
        source.bars("NEW", None, date(2024, 1, 31))
    assert len(source.bars("NEW", None, date(2024, 1, 31))) == 1
    assert source.tickers() == ["NEW"]
    assert place.names() == {"NEW.csv", "rejected/bad.csv", "rejected/bad.csv.reason.txt"}


class TestFolder:
    def test_one_name_rejected_eight_times_at_once_without_a_loss(self, tmp_path):
        # Names that differ beyond the length to which they are cut.
        paths = [tmp_path / f"{'x' * 200}{number}.csv" for number in range(8)]
        for number, path in enumerate(paths):
            path.write_text(f"bad {number}")
        threads = [threading.Thread(target=reject, args=(path, "reason")) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        contents = {path.read_text() for path in tmp_path.glob("rejected/*.csv")}
        assert contents == {f"bad {number}" for number in range(8)}
        assert len(list(tmp_path.glob("rejected/*.reason.txt"))) == 8

    def test_a_very_long_name(self, tmp_path):
        path = tmp_path / f"{'x' * 240}.csv"
        path.write_text("bad")
        assert reject(path, "reason").read_text() == "bad"

    def test_a_name_with_a_newline_stays_on_one_line(self, tmp_path):
        (tmp_path / "A\nB.csv").write_text("bad")
        (upload,) = open_uploads(tmp_path).files()
        assert upload.label == "'A\\nB.csv'"

    def test_what_is_no_file_is_not_listed(self, tmp_path):
        (tmp_path / "folder.csv").mkdir()
        os.mkfifo(tmp_path / "pipe.csv")
        (tmp_path / "dangling.csv").symlink_to(tmp_path / "nowhere")
        assert open_uploads(tmp_path).files() == []

    def test_a_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "inbox").write_text("")
        with pytest.raises(StockcastError, match=r"cannot be read .*check STOCKCAST_UPLOADS"):
            open_uploads(tmp_path / "inbox").files()

    def test_a_folder_that_cannot_be_written(self, tmp_path):
        (tmp_path / "rejected").write_text("in the way")
        (tmp_path / "A.csv").write_text("bad")
        uploads = open_uploads(tmp_path)
        with pytest.raises(StockcastError, match=r"A.csv cannot be moved to rejected/ .*remove it by hand"):
            uploads.reject(uploads.files()[0], "reason")
        assert (tmp_path / "A.csv").read_text() == "bad"


class TestBucket:
    def test_a_bucket_that_is_not_there(self, storage_client):
        uploads = open_uploads("gs://no-such-bucket/inbox", gcp_project="test")
        with pytest.raises(StockcastError, match="no bucket 'no-such-bucket': create it or correct"):
            uploads.files()

    def test_a_server_that_is_down_is_no_reason_to_reject(self, monkeypatch, storage_client):
        storage_client.create_bucket("down").blob("NEW.csv").upload_from_string(GOOD)
        uploads = open_uploads("gs://down", gcp_project="test")
        source = CsvSource(uploads)
        assert source.tickers() == ["NEW"]
        listed = uploads.files()
        monkeypatch.setattr(cloud_storage, "_TIMEOUT_S", 1.0)
        monkeypatch.setattr(uploads.place, "_opened", None)
        with monkeypatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
            for attempt in (uploads.files, lambda: uploads.read(listed[0]), lambda: uploads.reject(listed[0], "no")):
                with pytest.raises(UploadUnavailable, match=r"gs://down cannot be used .*check STOCKCAST_UPLOADS"):
                    attempt()
        monkeypatch.setattr(uploads.place, "_opened", None)
        assert len(source.bars("NEW", None, date(2024, 1, 31))) == 1

    def test_the_whole_bucket(self, storage_client):
        storage_client.create_bucket("whole").blob("A.csv").upload_from_string("bad")
        uploads = open_uploads("gs://whole", gcp_project="test")
        assert uploads.reject(uploads.files()[0], "reason") == "gs://whole/rejected/A.csv"

    @pytest.mark.parametrize("location", ["gs://", "gs:///inbox"])
    def test_a_location_without_a_bucket(self, location):
        with pytest.raises(StockcastError, match="names no bucket: write STOCKCAST_UPLOADS as gs://bucket/prefix"):
            open_uploads(location)

    def test_credentials_that_are_none(self, storage_client):
        uploads = open_uploads("gs://whole", gcp_project="test", gcp_credentials="bm9uc2Vuc2U=")
        with pytest.raises(StockcastError, match="STOCKCAST_GCP_CREDENTIALS is not a base64-encoded"):
            uploads.files()

    def test_no_credentials_at_all(self, monkeypatch, tmp_path):
        monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
        with pytest.raises(StockcastError, match="no credentials for gs://whole: run `gcloud auth"):
            open_uploads("gs://whole").files()


class TestHostileBucket:
    @staticmethod
    def put_packed(bucket: storage.Bucket, name: str, content: bytes) -> None:
        blob = bucket.blob(name)
        blob.content_encoding = "gzip"
        blob.upload_from_string(content, "text/csv")

    def test_what_says_that_it_is_packed_is_unpacked_to_the_size_of_an_upload(self, storage_client):
        bucket = storage_client.create_bucket(f"packed-{uuid.uuid4()}")
        self.put_packed(bucket, "BOMB.csv", gzip.compress(bytes(200 * 2**20), 9))
        self.put_packed(bucket, "GOOD.csv", gzip.compress(GOOD.encode()))
        self.put_packed(bucket, "LIAR.csv", b"\x1f\x8b but no gzip")
        uploads = open_uploads(f"gs://{bucket.name}", gcp_project="test")
        listed = {upload.name: upload for upload in uploads.files()}
        assert listed["BOMB.csv"].size < 2**20
        tracemalloc.start()
        try:
            with pytest.raises(UploadTooLarge, match=r"BOMB.csv unpacks to more than 10.0 MB.*split it by years"):
                uploads.read(listed["BOMB.csv"])
            assert len(uploads.read(listed["BOMB.csv"], first_bytes=1000)) <= 1000
            assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
        finally:
            tracemalloc.stop()
        assert uploads.read(listed["GOOD.csv"]) == GOOD.encode()
        with pytest.raises(StockcastError, match=r"LIAR.csv says that it is packed as gzip and is not"):
            uploads.read(listed["LIAR.csv"])
        source = CsvSource(uploads)
        assert "GOOD" in source.tickers()
        assert len(source.bars("GOOD", None, date(2024, 1, 31))) == 1
        with pytest.raises(StockcastError, match=r"LIAR.csv says that it is packed"):
            source.bars("LIAR", None, date(2024, 1, 31))

    def test_an_object_that_sends_more_than_it_is_listed_with_is_cut_off(self, storage_client):
        bucket = storage_client.create_bucket(f"lies-{uuid.uuid4()}")
        bucket.blob("A.csv").upload_from_string(GOOD * 1000)
        uploads = open_uploads(f"gs://{bucket.name}", gcp_project="test")
        (upload,) = uploads.files()
        # The server answers a range beyond what was asked as one that knows no ranges does: with everything.
        blob = bucket.blob("A.csv")
        stored = uploads_module._Bounded(100)
        with pytest.raises(uploads_module._Full):
            blob.download_to_file(stored, raw_download=True)
        assert len(stored.getvalue()) == 100
        assert len(uploads.read(upload)) == len(GOOD) * 1000

    @pytest.mark.parametrize("name", ["../../A.csv", "a\x1b[2Jb.csv", "C:\\A.csv", "..csv", "x/../../A.csv", " .csv"])
    def test_names_stay_below_the_prefix(self, storage_client, name):
        bucket = storage_client.create_bucket(f"names-{uuid.uuid4()}")
        bucket.blob(f"inbox/{name}").upload_from_string("bad")
        bucket.blob("A.csv").upload_from_string(GOOD)
        uploads = open_uploads(f"gs://{bucket.name}/inbox", gcp_project="test")
        for upload in uploads.files():
            assert upload.label.isprintable()
            assert "/" not in upload.name
            assert uploads.reject(upload, "reason").startswith(f"gs://{bucket.name}/inbox/rejected/")
        assert bucket.blob("A.csv").download_as_bytes() == GOOD.encode()
