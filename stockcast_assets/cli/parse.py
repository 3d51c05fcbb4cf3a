"""How a command line is read: flags anywhere, words checked before anything is loaded, a sentence for what is wrong."""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from stockcast_assets import __version__
from stockcast_assets.cli import completion
from stockcast_assets.cli.terminal import Unread, tell_error, tell_stop, unwritable
from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import looks_like_day, parse_day, parse_month, typed_tickers, validate_ticker
from stockcast_assets.stopping import Stopped, end_children

ANYWHERE = ("--debug", "--json", "--quiet", "-q")
"""Flags that may stand before or after the command."""


# Typer brings Click along or asks for it, by its version; what it raises is of one of the two.
_UsageError: Any = typer.BadParameter.__base__


def _ticker(value: str | None) -> str | None:
    if value is None:
        return None
    tickers = typed_tickers([value])
    return tickers[0] if len(tickers) == 1 else validate_ticker(value)


def some_tickers(values: Sequence[str] | None) -> Sequence[str] | None:
    """The callback of every list of tickers.

    Raises:
        StockcastError: for the first that is none.
    """
    return values if values is None else typed_tickers(values)


def _tickers_and_day(values: Sequence[str]) -> Sequence[str]:
    *tickers, last = values
    days = [word for word in values if looks_like_day(word)]
    if days and (days != [last] or not tickers):
        asked = " ".join(word for word in values if not looks_like_day(word)) or "AAPL MSFT"
        raise StockcastError(
            f"A forecast is of tickers and then of one day: write them as `stockcast forecast {asked} {days[-1]}`."
        )
    if not tickers or any(char.isalpha() for char in last):
        return typed_tickers(values)
    parse_day(last)
    return [*typed_tickers(tickers), last]


def tickers_and_day(words: Sequence[str]) -> tuple[list[str], str | None]:
    """The tickers of the argument `TICKERS... [DATE]`, and its day; only the last word may be one."""
    if len(words) < 2 or any(char.isalpha() for char in words[-1]):
        return list(words), None
    return list(words[:-1]), words[-1]


def _day(value: str | None) -> str | None:
    if value is not None:
        parse_day(value)
    return value


LIST = "separated by blanks or commas"
"""How every list of tickers is written."""

Ticker = Annotated[
    str, typer.Argument(help="Ticker, for example MSFT.", callback=_ticker, autocompletion=completion.ticker)
]
Tickers = Annotated[
    list[str],
    typer.Argument(
        help=f"Tickers, {LIST}, for example TSLA VOD.L ETH-USD.",
        callback=some_tickers,
        autocompletion=completion.ticker_list,
    ),
]
NewTickers = Annotated[
    list[str], typer.Argument(help=f"Tickers, {LIST}, for example TSLA VOD.L ETH-USD.", callback=some_tickers)
]
SomeTickers = Annotated[
    list[str] | None,
    typer.Argument(
        help=f"Tickers, {LIST}, for example AAPL MSFT; default all.",
        callback=some_tickers,
        autocompletion=completion.ticker_list,
    ),
]
OptionalTickers = Annotated[
    list[str] | None,
    typer.Argument(
        help=f"Tickers, {LIST}, for example AAPL MSFT.", callback=some_tickers, autocompletion=completion.ticker_list
    ),
]
TickersAndDay = Annotated[
    list[str],
    typer.Argument(
        metavar="TICKERS... [DATE]",
        help=f"Tickers, {LIST}; then the as-of day, YYYY-MM-DD, default the newest. Of a day without a session it is "
        "the session before.",
        callback=_tickers_and_day,
        autocompletion=completion.ticker_list,
    ),
]
Opened = Annotated[bool, typer.Option("--open", help="Open it in a browser.")]
TickerList = Annotated[
    list[str] | None,
    typer.Option("--tickers", help=f"Tickers, {LIST}.", callback=some_tickers, autocompletion=completion.ticker_list),
]


def day(help: str) -> typer.models.ArgumentInfo:
    """The argument DATE, a day as YYYY-MM-DD."""
    found: typer.models.ArgumentInfo = typer.Argument(metavar="DATE", help=help, callback=_day)
    return found


def _month(value: str | None) -> str | None:
    if value is not None:
        parse_month(value)
    return value


Month = Annotated[
    str | None,
    typer.Argument(metavar="[MONTH]", help="Month of use, YYYY-MM; default the newest.", callback=_month),
]


def day_option(name: str, help: str) -> typer.models.OptionInfo:
    """An option that is a day as YYYY-MM-DD."""
    found: typer.models.OptionInfo = typer.Option(name, help=help, callback=_day)
    return found


AsKnownOn = Annotated[
    str | None,
    day_option(
        "--as-known-on",
        "The world of a past day, YYYY-MM-DD: what was known at its end (UTC); default what is known now.",
    ),
]


def tell_version(asked: bool) -> None:
    """The callback of `--version`."""
    if asked:
        print(f"stockcast {__version__}")  # noqa: T201
        raise typer.Exit


def arranged(arguments: Sequence[str]) -> list[str]:
    """The arguments with the flags that may stand anywhere before the command, where they are read.

    What follows a bare `--` is no flag.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    said = {flag for flag in arguments[:end] if flag in ANYWHERE}
    others = [word for word in arguments[:end] if word not in ANYWHERE]
    return [*(flag for flag in ANYWHERE if flag in said), *others, *arguments[end:]]


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """The exit status of a command line.

    2 and one sentence if it cannot be understood, 1 and one sentence for a StockcastError and for what a damaged file
    or a full disk leads to, whose traceback comes with `--debug`; 130 or 143 if Ctrl-C or SIGTERM ended it, 141 if
    nobody reads what it prints.
    """
    streams = (sys.stdout, sys.stderr)
    try:
        status = _run(app, arranged(arguments))
    except (SystemExit, OSError) as error:
        # Click ends with 1 where nobody reads.
        fault = unwritable(streams)
        if fault is None and not isinstance(error, Unread):
            raise
        return _unwritten(fault or BrokenPipeError())
    return status if (fault := unwritable(streams)) is None else _unwritten(fault)


def _unwritten(fault: OSError) -> int:
    """The exit status where what was printed could not be written."""
    if isinstance(fault, BrokenPipeError):
        return int(Unread().code or 0)
    tell_error(f"What was to be printed could not be written ({fault.strerror}): see where the output goes.")
    return 1


def _run(app: typer.Typer, arguments: Sequence[str]) -> int:
    try:
        return typer.main.get_command(app).main(arguments, prog_name="stockcast", standalone_mode=False) or 0
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return 2
        path = error.ctx.command_path if error.ctx is not None else "stockcast"
        told = error.format_message().rstrip(".")
        tell_error(f"{told}{'' if told.endswith('?') else ';'} `{path} --help` says what there is.")
        return 2
    except Stopped as stopped:
        end_children()
        tell_stop(stopped)
        return 128 + stopped.number
    except typer.Abort:
        tell_error("stopped before it was done.")
        return 1
    except StockcastError as error:
        if "--debug" in arguments:
            raise
        tell_error(str(error))
        return 1
    except Exception as error:
        if isinstance(error, OSError) and (fault := unwritable((sys.stdout, sys.stderr))) is not None:
            return _unwritten(fault)
        if "--debug" in arguments or (sentence := _explained(error)) is None:
            raise
        tell_error(sentence)
        return 1


def _explained(error: Exception) -> str | None:
    """What an error that nobody foresaw comes from, if that is a damaged file or a disk."""
    from stockcast_assets.orchestration.home import explained
    from stockcast_assets.settings import load_settings

    try:
        found = explained(error, load_settings())
    except StockcastError as found_on_the_way:
        found = found_on_the_way
    return None if found is None else str(found)
