"""Whatever lies in the inbox, the good files beside it are taken in the same tick, and each bad one is told once.

Nothing outside the inbox is opened, quoted or moved.
"""

import errno
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest

from stockcast_assets.market.sources import uploads as uploads_module
from stockcast_assets.market.sources.csvfile import CsvSource
from stockcast_assets.market.sources.uploads import UploadChanged, UploadTooLarge, open_uploads
from stockcast_assets.orchestration.jobs import build_jobs
from stockcast_assets.orchestration.sensors import csv_inbox
from stockcast_assets.sandbox import Sandbox

GOOD = "Date,Open,High,Low,Close,Volume\n2013-01-02,10,11,9,10,1000\n"
JOBS = build_jobs()
SECRET = "root:x:0:0:a line that nobody outside may see"


@dataclass
class Inbox:
    """An inbox, the sensor on it, and a folder beside it that is nobody's business."""

    folder: Path
    outside: Path
    instance: dg.DagsterInstance
    cursor: str | None = None
    told: list[str] = field(default_factory=list)

    def put(self, name: str | bytes, text: str = GOOD, age: float = 60) -> Path:
        path = self.folder / os.fsdecode(name)
        path.write_text(text)
        self.date(path, age)
        return path

    @staticmethod
    def date(path: Path, age: float) -> None:
        now = path.lstat().st_ctime
        os.utime(path, (now - age, now - age), follow_symlinks=False)

    def tick(self) -> list[str]:
        """The tickers of which bars were asked for."""
        self.told.clear()
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        handler = _Listener(self.told)
        context.log.addHandler(handler)
        inbox = csv_inbox.Inbox(open_uploads(self.folder), date(2012, 1, 1), None, ("XNYS",))
        try:
            data = csv_inbox.build_csv_inbox(JOBS, inbox, dg.DefaultSensorStatus.STOPPED).evaluate_tick(context)
        finally:
            context.log.removeHandler(handler)
        self.cursor = data.cursor
        return sorted(
            request.tags["dagster/asset_partition_range_start"].rpartition("|")[2]
            for request in data.run_requests or []
        )


class _Listener(logging.Handler):
    def __init__(self, told: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.told = told

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    folder, outside = tmp_path / "inbox", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "passwd").write_text(SECRET)
    (outside / "GOOD.csv").write_text(GOOD)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Inbox(folder, outside, instance)
    assert {path.name for path in outside.iterdir()} == {"passwd", "GOOD.csv"}
    assert (outside / "passwd").read_text() == SECRET


def link(target: str) -> Callable[[Inbox, Path], None]:
    return lambda inbox, path: path.symlink_to(target.format(outside=inbox.outside, inbox=inbox.folder))


def a_socket(_: Inbox, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


STRAYS: dict[str, tuple[Callable[[Inbox, Path], object], str]] = {
    "a link to a foreign file": (link("{outside}/passwd"), "is a link"),
    "a link to foreign bars": (link("{outside}/GOOD.csv"), "is a link"),
    "a link within the inbox": (link("{inbox}/GOOD.csv"), "is a link"),
    "a link to itself": (link("{inbox}/BAD.csv"), "is a link"),
    "a link to nothing": (link("/nowhere/at/all"), "is a link"),
    "a link to a device that never ends": (link("/dev/zero"), "is a link"),
    "a link to a folder": (link("{outside}"), "is a link"),
    "a named pipe": (lambda _, path: os.mkfifo(path), "is a named pipe"),
    "a folder": (lambda _, path: path.mkdir(), "is a folder"),
    "a socket": (a_socket, "is a socket"),
}


def test_what_is_no_file_is_told_once_and_left_alone(inbox: Inbox) -> None:
    for name, (make, _) in STRAYS.items():
        path = inbox.folder / f"{name}.csv"
        make(inbox, path)
        if name == "a link to itself":
            path.unlink()
            path.symlink_to(path)
    before = {path.name: path.lstat() for path in inbox.folder.iterdir()}
    inbox.put("GOOD.csv")
    assert inbox.tick() == ["GOOD"]
    assert sorted(inbox.told) == sorted(
        f"{name}.csv {words} and was left where it is: put a plain file there." for name, (_, words) in STRAYS.items()
    )
    assert inbox.tick() == []
    assert inbox.told == []
    assert {path.name: path.lstat() for path in inbox.folder.iterdir() if path.name != "GOOD.csv"} == before
    assert CsvSource(inbox.folder).tickers() == ["GOOD"]
    (inbox.folder / "a named pipe.csv").unlink()
    inbox.put("a named pipe.csv", "Symbol," + GOOD.replace("2013", "NEW,2013"))
    assert inbox.tick() == ["NEW"], "it has become a plain file"


def test_a_file_of_any_time_is_taken(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems keep times of centuries only; what they make of it is taken as well."""
    monkeypatch.setattr(csv_inbox, "SETTLED", timedelta(0))
    for number, seconds in enumerate([-(10**10), -1, 2**33, 2**40, 10**10]):
        os.utime(inbox.put(f"ODD{number}.csv"), (seconds, seconds))
    assert inbox.tick() == [f"ODD{number}" for number in range(5)]
    assert inbox.tick() == []


def test_a_time_ahead_waits_for_the_place_to_settle_and_no_longer(inbox: Inbox) -> None:
    inbox.put("AHEAD.csv", age=-(10**8))
    (upload,) = open_uploads(inbox.folder).files()
    pause = timedelta(seconds=5)
    stored = upload.stored
    assert stored is not None
    assert upload.modified > stored
    assert not upload.settled(stored + pause / 2, pause)
    assert upload.settled(stored + pause, pause)
    assert upload.settled(stored - pause, pause), "both ahead: a clock was wrong once"


NAMES = {
    b"\xff\xfe\xfd.csv": "the file's name is no UTF-8; rename it",
    b"A\xffB.csv": "the file's name is no UTF-8; rename it",
    b"a\x1b[2Jb.csv": r"'a\x1b[2Jb.csv'",
    b"two\nlines.csv": r"'two\nlines.csv'",
    "\N{RIGHT-TO-LEFT OVERRIDE}vsc.csv".encode(): r"'\u202evsc.csv'",
    b"'; DROP TABLE.csv": "'; DROP TABLE.csv",
    b"N" * 251 + b".csv": "NNN.csv",
}


def test_a_file_of_any_name_is_set_aside_with_its_reason(inbox: Inbox) -> None:
    inbox.put("GOOD.csv")
    inbox.put("..hidden.csv")
    for name in NAMES:
        inbox.put(name)
    assert inbox.tick() == ["GOOD"]
    assert len(inbox.told) == len(NAMES)
    for words in NAMES.values():
        assert any(words in sentence and "is now" in sentence for sentence in inbox.told), words
    assert all(sentence.isprintable() for sentence in inbox.told)
    notes = list((inbox.folder / "rejected").glob("*.reason.txt"))
    assert len(notes) == len(NAMES)
    for note in notes:
        assert any(note.read_text().strip() in sentence for sentence in inbox.told)
        assert note.with_name(note.name.removesuffix(".reason.txt")).read_text() == GOOD
    json.loads(inbox.cursor or "")
    assert inbox.tick() == []
    assert inbox.told == []


@pytest.mark.parametrize("kind", ["a link out", "a file", "a link in", "a named pipe"])
def test_rejected_is_a_folder_or_nothing_is_moved(inbox: Inbox, kind: str) -> None:
    rejected = inbox.folder / "rejected"
    {
        "a link out": lambda: rejected.symlink_to(inbox.outside),
        "a file": lambda: rejected.write_text("in the way"),
        "a link in": lambda: rejected.symlink_to(inbox.folder),
        "a named pipe": lambda: os.mkfifo(rejected),
    }[kind]()
    inbox.put("GOOD.csv")
    bad = inbox.put("BAD.csv", "no bars")
    assert inbox.tick() == ["GOOD"]
    (sentence,) = inbox.told
    assert "BAD.csv cannot be moved to rejected/" in sentence
    assert bad.read_text() == "no bars"
    assert inbox.tick() == []
    assert inbox.told == []


def test_a_file_that_becomes_something_else_between_the_look_and_the_opening(inbox: Inbox) -> None:
    path = inbox.put("A.csv", "0123456789")
    uploads = open_uploads(inbox.folder)
    (upload,) = uploads.files()

    def swap_for(make: Callable[[], object]) -> None:
        path.unlink()
        make()
        for attempt in (lambda: uploads.read(upload), lambda: uploads.reject(upload, "reason")):
            with pytest.raises(UploadChanged, match="try again when it is completely written"):
                attempt()
        assert os.path.lexists(path)

    swap_for(lambda: path.symlink_to(inbox.outside / "passwd"))
    swap_for(lambda: path.symlink_to(path))
    swap_for(lambda: os.mkfifo(path))
    swap_for(lambda: path.write_text("other bytes"))
    assert (inbox.outside / "passwd").read_text() == SECRET


def test_a_file_that_grows_while_it_is_read_is_read_no_further_than_it_was_listed(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = inbox.put("A.csv", GOOD)
    uploads = open_uploads(inbox.folder)
    (upload,) = uploads.files()
    grown = threading.Event()
    whole = os.fstat

    def growing(handle: int) -> os.stat_result:
        status = whole(handle)
        if not grown.is_set():
            grown.set()
            with path.open("a") as file:
                file.truncate(10 * uploads_module.MAX_BYTES)
        return status

    monkeypatch.setattr(os, "fstat", growing)
    with pytest.raises(UploadChanged):
        uploads.read(upload)


def test_a_huge_file_is_never_read(inbox: Inbox) -> None:
    inbox.put("GOOD.csv")
    huge = inbox.folder / "HUGE.csv"
    with huge.open("wb") as file:
        file.truncate(2**40)
    inbox.date(huge, 60)
    with pytest.raises(UploadTooLarge):
        open_uploads(inbox.folder).read(next(u for u in open_uploads(inbox.folder).files() if u.name == "HUGE.csv"))
    assert inbox.tick() == ["GOOD"]
    assert "split it by years" in inbox.told[0]


def test_an_unreadable_file_is_told_once_and_taken_when_it_can_be_read(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.put("GOOD.csv")
    inbox.put("LOCKED.csv")
    real = os.open

    def locked(path, *args, **kwargs):
        if str(path).endswith("LOCKED.csv"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", locked)
        assert inbox.tick() == ["GOOD"]
        assert inbox.told == ["LOCKED.csv cannot be read (Permission denied): check the file's permissions."]
        assert inbox.tick() == []
        assert inbox.told == []
    assert inbox.tick() == ["LOCKED"]
    assert inbox.tick() == []


def test_a_mistake_of_ours_on_one_file_stops_no_other(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.put("GOOD.csv")
    inbox.put("BAD.csv")
    real = csv_inbox.Inbox.parse

    def parse(self, upload, sandbox):
        if upload.name == "BAD.csv":
            raise KeyError("a bug")
        return real(self, upload, sandbox)

    monkeypatch.setattr(csv_inbox.Inbox, "parse", parse)
    assert inbox.tick() == ["GOOD"]
    assert inbox.told == ["BAD.csv was left where it is: it could not be taken."]
    assert inbox.tick() == []
    assert inbox.told == []


def test_thousands_of_files_have_their_turn_tick_by_tick(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_inbox, "TICK_FILES", 20)
    for number in range(45):
        inbox.put(f"T{number}.csv", age=1000 - number)
    taken = [inbox.tick() for _ in range(4)]
    assert [len(tick) for tick in taken] == [20, 20, 5, 0]
    assert len({ticker for tick in taken for ticker in tick}) == 45
    monkeypatch.setattr(uploads_module, "MAX_FILES", 44)
    with pytest.raises(uploads_module.UploadUnavailable, match="holds more than 44 CSV files: move those elsewhere"):
        open_uploads(inbox.folder).files()


HOSTILE = {
    "digits": lambda: "Date,Open,High,Low,Close,Volume\n2013-01-02," + "1" * 131_000 + ",11,9,10,1000\n",
    "digits and a letter": lambda: GOOD.replace("11,9", "1" * 100_000 + "x,9"),
    "columns": lambda: ",".join(["Date,Open,High,Low,Close,Volume", *map(str, range(200_000))]) + "\n",
    "a column named often": lambda: "Date," + ",".join(["Open"] * 300_000) + "\n",
    "quotes": lambda: '"' * 3_000_000,
    "open quote": lambda: GOOD + '"' + "\n" * 3_000_000,
    "empty lines": lambda: "\n" * 9_000_000,
    "zeros": lambda: "\0" * 9_000_000,
    "one long line": lambda: "x" * 9_000_000,
    "rows": lambda: GOOD + "2013-01-03,10,11,9,10,1000\n" * 330_000,
    "deep minus": lambda: GOOD.replace(",10,1000", "," + "-" * 100_000 + ",1000"),
    "date of digits": lambda: GOOD.replace("2013-01-02", "2" * 120_000),
}


def test_files_that_ask_for_much_work_are_set_aside_and_the_sensor_lives_on(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_inbox.Inbox, "sandbox", lambda self: Sandbox(cpu_s=5))
    inbox.put("GOOD.csv", age=100)
    for number, (_, content) in enumerate(HOSTILE.items()):
        inbox.put(f"BAD{number}.csv", content())
    taken, told = [], []
    for _ in HOSTILE:
        taken += inbox.tick()
        told += inbox.told
        if not list(inbox.folder.glob("*BAD*")):
            break
    assert taken == ["GOOD"]
    assert sorted(path.name for path in inbox.folder.glob("*.csv")) == ["GOOD.csv"]
    assert len(told) == len(HOSTILE)
    assert all(len(sentence) < 600 and sentence.isprintable() and "rejected/BAD" in sentence for sentence in told)
