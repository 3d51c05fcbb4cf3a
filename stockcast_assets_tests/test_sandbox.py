"""What the sandbox calls is bounded in time and memory, and what it raises arrives as it was raised."""

import os
import time
from pathlib import Path

import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.sandbox import Sandbox, SandboxExceeded, SandboxUnavailable

MB = 2**20


def spin() -> None:
    while True:
        pass


def hoard(megabytes: int) -> int:
    return len(b"x" * megabytes * MB)


def touch(path: str) -> None:
    Path(path).write_text("x")


def refuse(words: str) -> None:
    raise StockcastError(words)


class Unspeakable(Exception):
    def __reduce__(self):
        raise TypeError("no")


def fail_unspeakably() -> None:
    raise Unspeakable("words")


def test_results_and_errors_come_back_from_one_process() -> None:
    with Sandbox() as sandbox:
        first = sandbox.call(os.getpid)
        assert first != os.getpid()
        assert sandbox.call(divmod, 7, 3) == (2, 1)
        with pytest.raises(StockcastError, match="not this"):
            sandbox.call(refuse, "not this")
        with pytest.raises(RuntimeError, match="Unspeakable: words"):
            sandbox.call(fail_unspeakably)
        assert sandbox.call(os.getpid) == first
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_too_much_of_anything_ends_the_call_and_not_the_next_one(tmp_path) -> None:
    with Sandbox(cpu_s=1, memory_bytes=64 * MB) as sandbox:
        begun = time.monotonic()
        for call in (lambda: sandbox.call(spin), lambda: sandbox.call(hoard, 100), lambda: sandbox.call(os.abort)):
            with pytest.raises(SandboxExceeded, match=r"^took more than 1 s of computing or 64 MB of memory$"):
                call()
            assert sandbox.call(hoard, 8) == 8 * MB
        assert time.monotonic() - begun < 30
        with pytest.raises((OSError, SandboxExceeded)):
            sandbox.call(touch, str(tmp_path / "file"))
        assert not (tmp_path / "file").exists() or not (tmp_path / "file").read_bytes()


def test_waiting_is_bounded_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stockcast_assets.sandbox._PATIENCE", 1)
    with Sandbox(cpu_s=1) as sandbox:
        sandbox.call(os.getpid)
        begun = time.monotonic()
        with pytest.raises(SandboxExceeded):
            sandbox.call(time.sleep, 60)
        assert time.monotonic() - begun < 10


def test_a_process_that_does_not_begin_is_nobodys_fault() -> None:
    with Sandbox(prepare=fail_unspeakably) as sandbox, pytest.raises(SandboxUnavailable, match="did not begin"):
        sandbox.call(os.getpid)
