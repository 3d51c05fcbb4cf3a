"""Runs the BigQuery emulator in this process: `python -m stockcast_assets_tests.bigquery_emulator PORT STORAGE_PORT`.

The Google client uploads with media type `*/*`, as real BigQuery allows; the emulator has to be told. It also runs
`MERGE … ON FALSE` as DuckDB does, every row of the one side against every row of the other; an equality that never
holds is the same join, hashed.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

from bqemulator.api.routes import upload
from bqemulator.config import LogLevel, Settings
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


def main() -> None:
    translate = SQLTranslator.translate

    def hashed(self: SQLTranslator, sql: str, **options: Any) -> Any:
        if sql.startswith("MERGE "):
            sql = sql.replace(" ON FALSE WHEN ", f" ON {NEVER} WHEN ", 1)
        return translate(self, sql, **options)

    SQLTranslator.translate = hashed  # type: ignore[method-assign]
    Dialect.parse = parse_once(Dialect.parse)  # type: ignore[method-assign]
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
