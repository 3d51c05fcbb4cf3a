"""Secrets that are planted, and the search for them in all forms and in all that is stored."""

import base64
import contextlib
import json
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus


def forms(secret: str) -> Iterator[bytes]:
    """The secret as texts, URLs, JSON (also within JSON), UTF-16 and base64, at each of its three offsets, write it."""
    texts = {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    texts |= {json.dumps(text)[1:-1] for text in texts}
    for text in texts:
        yield text.encode()
        yield text.encode("utf-16-le")
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret.encode())
        # Its first and last characters depend on what stands around.
        inner = encoded[4 if offset else 0 :].rstrip(b"=")[:-1]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def found_in(data: bytes, secret: str) -> bool:
    return any(form in data for form in forms(secret))


def _decompressed(data: bytes) -> bytes:
    for unpack in (zlib.decompress, lambda packed: zlib.decompress(packed, 31)):
        with contextlib.suppress(zlib.error):
            return unpack(data)
    return data


def _values(file: Path) -> Iterator[bytes]:
    """The content of a file, and every value of a SQLite database, whatever compresses them."""
    data = file.read_bytes()
    yield data
    yield _decompressed(data)
    if data.startswith(b"SQLite format 3\0"):
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608
                    for value in row:
                        if isinstance(value, bytes):
                            yield _decompressed(value)
                        elif isinstance(value, str):
                            yield value.encode(errors="surrogatepass")
    if data[8:12] == b"DUCK":
        import duckdb

        with duckdb.connect(str(file), read_only=True) as connection:
            for schema, table in connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall():
                rows = connection.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall()  # noqa: S608
                yield repr(rows).encode()


def stored_in(folder: Path, secrets: list[str]) -> list[tuple[str, str]]:
    """(file, secret) wherever one of the secrets is stored below a folder, in a name or a content."""
    found = set()
    wanted = {secret: tuple(forms(secret)) for secret in secrets}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        for value in (str(file.relative_to(folder)).encode(errors="surrogateescape"), *_values(file)):
            found |= {
                (str(file.relative_to(folder)), secret)
                for secret, written in wanted.items()
                if any(form in value for form in written)
            }
    return sorted(found)
