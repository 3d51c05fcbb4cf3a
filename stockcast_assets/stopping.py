"""Ctrl-C and SIGTERM: the process stops where it stands, cleans up, and ends with the status a shell gives to that.

While Dagster executes a run it has handlers of its own, which do not say which signal came, and forget one that comes
after the last step. So what came is also read from the descriptor to which Python writes every signal's number.

A terminal sends Ctrl-C to all processes of a command, and those that Dagster and we start would each end in a traceback
of their own. So they inherit that SIGINT is blocked, and a thread passes it on to the one whose children they are.
"""

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import psutil

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_AGAIN_S = 0.05
"""After which a signal comes again whose exception was thrown away."""


class _Heard:
    """What came to this process since `stoppable` began.

    Attributes:
        ear: where the numbers of signals arrive; None before and after.
        first: the number of the first.
    """

    ear: socket.socket | None = None
    first: int | None = None


_heard = _Heard()


class Stopped(SystemExit):
    """A signal told this process to stop.

    Attributes:
        number: of the signal; `code` is 128 + number.
        told: what is done already, in a sentence, once somebody knows.
        resume: the command line that goes on, once somebody knows.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number
        self.told = ""
        self.resume = ""

    @property
    def name(self) -> str:
        """Of the signal."""
        return signal.Signals(self.number).name


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise `Stopped` in the main thread, once; what comes after the first changes nothing."""
    ear, mouth = socket.socketpair()
    ear.setblocking(False)
    mouth.setblocking(False)
    _heard.ear, _heard.first = ear, None
    before = {number: signal.signal(number, _stop) for number in SIGNALS}
    unraisable, sys.unraisablehook = sys.unraisablehook, _not_lost(sys.unraisablehook)
    wakeup = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    done = threading.Event()
    relay = threading.Thread(target=_pass_on, args=(done, threading.get_ident()), daemon=True)
    relay.start()
    try:
        yield
    finally:
        done.set()
        signal.pthread_kill(relay.ident or 0, signal.SIGINT)
        relay.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.set_wakeup_fd(wakeup)
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)
        _heard.ear = None
        ear.close()
        mouth.close()


def _pass_on(done: threading.Event, main: int) -> None:
    while signal.sigwait({signal.SIGINT}) and not done.is_set():
        if _heard.first is None:
            _heard.first = signal.SIGINT
        # Dagster treats both alike.
        signal.pthread_kill(main, signal.SIGTERM)


def _not_lost(hook: Callable[[Any], Any]) -> Callable[[Any], None]:
    """As the hook, but `Stopped` comes again if it was raised in a finaliser, of which Python throws that away."""

    def noted(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Stopped):
            hook(unraisable)
            return
        number = unraisable.exc_value.number
        signal.signal(number, _stop)
        threading.Timer(_AGAIN_S, signal.pthread_kill, (threading.get_ident(), number)).start()

    return noted


def shield_children() -> None:
    """Let the processes started from now on ignore Ctrl-C. Python's own undo it when they start their first."""
    if _heard.ear is not None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def expose_children() -> None:
    """Let the processes started from now on take SIGINT as ever: Dagster sends it to a run that is terminated."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def end_children() -> None:
    """Tell every process that this one started, and theirs, to end: one that is still importing does not see us go."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.terminate()


def let_go() -> None:
    """Leave both signals as they are by default, for a process that becomes another program."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def signalled() -> int | None:
    """The number of the first signal that came since `stoppable` began; None if none did."""
    if _heard.first is None and _heard.ear is not None:
        try:
            numbers = _heard.ear.recv(4096)
        except BlockingIOError:
            numbers = b""
        _heard.first = next((number for number in numbers if number in SIGNALS), None)
    return _heard.first


def stop_if_signalled() -> None:
    """Raise `Stopped` if a signal came that nobody has obeyed yet."""
    if (number := signalled()) is not None:
        _ignore()
        raise Stopped(number)


def _stop(number: int, _: FrameType | None) -> NoReturn:
    # A second one must not cut short what the first began.
    _ignore()
    raise Stopped(signalled() or number)


def _ignore() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
