"""What reaches the terminal: our own layout and colours, and of everything else only characters, without secrets.

Reasons, keys, file names and errors are written by others. Rich would read `[…]` in them as markup and the terminal
would obey their control characters; here both are shown as they were written.
"""

import io
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.text import Text

from stockcast_assets.inputs import printable
from stockcast_assets.masking import redact
from stockcast_assets.stopping import Stopped


class Unread(SystemExit):
    """Nobody reads any more what is printed into a pipe, as `head` leaves it; `code` is what a shell gives to that."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGPIPE)


class Terminal(Console):
    """Rich's console, to which a string is one line of characters and never markup."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """As Rich's, on the printable text."""
        return super().render_str(printable(redact(text)), **{**options, "markup": False, "emoji": False})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As Rich's; a safeguard for what was made a `Text` elsewhere."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text, lines=True))

    def on_broken_pipe(self) -> None:
        """End the command.

        Raises:
            Unread: always.
        """
        raise Unread

    def status(self, status: RenderableType, **options: Any) -> Status:
        """As Rich's, which would read a string as markup."""
        return super().status(styled(status) if isinstance(status, str) else status, **options)


@dataclass(frozen=True)
class Ticking:
    """A line of a status that says for how long it stands there.

    Attributes:
        words: what is going on.
        since: since when, as `time.monotonic` has it.
    """

    words: str
    since: float

    def __rich__(self) -> Text:
        return styled(f"{self.words} ", (f"{time.monotonic() - self.since:.0f} s", "dim"))


def styled(*parts: str | tuple[str, str]) -> Text:
    """One line of pieces: text, or (text, style)."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((printable(redact(text)), style) for text, style in pairs))


def stacked(*lines: str | Text) -> Text:
    """Lines of one cell of a table."""
    return Text("\n").join(line if isinstance(line, Text) else styled(line) for line in lines)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person sees it, or types it; a stream that was closed before the start is None."""
    return stream is not None and stream.isatty()


# Tables and JSON go to stdout, everything about how it is going to stderr.
# A pipe has no width of its own, and a table cut to 80 columns helps nobody who reads it later.
out = Terminal(width=None if is_terminal(sys.stdout) else 160)
err = Terminal(stderr=True)


def unwritable(streams: Iterable[TextIO | None]) -> OSError | None:
    """Why something that was printed cannot be written, if so; what is left of it is given up then."""
    for stream in filter(None, streams):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            return error
    return None


def warn(sentence: str) -> None:
    """A warning, on stderr, though it be quiet there."""
    was, err.quiet = err.quiet, False
    err.print(styled(("warning: ", "yellow"), sentence), soft_wrap=True)
    err.quiet = was


def tell_error(sentence: str) -> None:
    """The error that ends a command: one line on stderr."""
    print(f"error: {printable(redact(sentence))}", file=sys.stderr)  # noqa: T201


def tell_stop(stopped: Stopped) -> None:
    """What a signal left: one line on stderr, and the command that goes on in a line of its own."""
    line = f"stopped by {stopped.name}{': ' if stopped.told else '.'}{stopped.told}"
    print(printable(redact(line)), file=sys.stderr)  # noqa: T201
    if stopped.resume:
        print(f"Go on with:\n  {printable(redact(stopped.resume))}", file=sys.stderr)  # noqa: T201


class _PrintableRecord(logging.LogRecord):
    """A log record whose message the terminal does not obey."""

    def getMessage(self) -> str:
        return printable(redact(super().getMessage()), lines=True)


def guard_logs_and_tracebacks() -> None:
    """Let all that this process prints, logs, and may end with be what the terminal shows and the locale can write."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.setLogRecordFactory(_PrintableRecord)
    sys.excepthook = _print_traceback


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = "".join(traceback.format_exception(kind, error, trace))
    print(printable(redact(text), lines=True), file=sys.stderr)  # noqa: T201
