"""Runs the BigQuery emulator in this process: `python -m stockcast_assets_tests.bigquery_emulator PORT STORAGE_PORT`.

The Google client uploads with media type `*/*`, as real BigQuery allows; the emulator has to be told. It also runs
`MERGE … ON FALSE` as DuckDB does, every row of the one side against every row of the other; an equality that never
holds is the same join, hashed. In a script, as that of a transaction, it knows no query parameters, and RAISE
is an internal error to it; BigQuery knows both.
"""

import functools
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from bqemulator.api.routes import upload
from bqemulator.config import LogLevel, Settings
from bqemulator.jobs import executor
from bqemulator.scripting import interpreter
from bqemulator.scripting.exceptions import ScriptRaise
from bqemulator.server import run_forever
from bqemulator.sql.translator import SQLTranslator
from sqlglot.dialects.dialect import Dialect

NEVER = "(target.rowid IS NULL) = (stage.rowid IS NOT NULL)"


def parse_once(parse: Callable[..., list]) -> Callable[..., list]:
    """The emulator parses each statement five times; all but the first get a copy."""

    @functools.lru_cache(maxsize=16)
    def parsed(dialect: type[Dialect], sql: str) -> list:
        return parse(dialect(), sql)

    def copied(self: Dialect, sql: str, **options: Any) -> list:
        if options:
            return parse(self, sql, **options)
        return [tree and tree.copy() for tree in parsed(type(self), sql)]

    return copied


def bind_in_scripts() -> None:
    """Let the statements of a script have the query parameters of its job, and fail by RAISE as any query does."""
    parameters: ContextVar[Any] = ContextVar("parameters", default=None)
    run, bind = executor._run_query_body, interpreter.bind_parameters

    async def run_with(**arguments: Any) -> Any:
        parameters.set(arguments["query_params"])
        try:
            return await run(**arguments)
        except ScriptRaise as error:
            raise interpreter.InvalidQueryError(str(error)) from error

    executor._run_query_body = run_with
    interpreter.bind_parameters = lambda sql, none=None: bind(sql, parameters.get())


def main() -> None:
    translate = SQLTranslator.translate

    def hashed(self: SQLTranslator, sql: str, **options: Any) -> Any:
        if sql.startswith("MERGE "):
            sql = sql.replace(" ON FALSE WHEN ", f" ON {NEVER} WHEN ", 1)
        return translate(self, sql, **options)

    SQLTranslator.translate = hashed  # type: ignore[method-assign]
    Dialect.parse = parse_once(Dialect.parse)  # type: ignore[method-assign]
    bind_in_scripts()
    upload._PERMITTED_MEDIA_CONTENT_TYPES += ("*/*",)
    run_forever(
        Settings(
            rest_port=int(sys.argv[1]),
            grpc_port=int(sys.argv[2]),
            log_level=LogLevel.ERROR,
            enable_format_extensions=False,
        )
    )


if __name__ == "__main__":
    main()
