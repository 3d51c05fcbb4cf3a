"""Sources of daily bars: the packaged sample, Yahoo Finance, and CSV files that people upload.

All obey `Source`; `source_from` makes the one that the settings name.
"""

from pathlib import Path

from stockcast_assets.errors import StockcastError
from stockcast_assets.google.storage import StorageClients
from stockcast_assets.market.sources.base import Source
from stockcast_assets.market.sources.validate import validate_bars

__all__ = ["SOURCES", "Source", "source_from", "validate_bars"]

SOURCES = ("yahoo", "csv", "sample")


def source_from(
    name: str,
    uploads: Path | str,
    gcp_project: str | None = None,
    gcp_credentials: str | None = None,
    gcs: StorageClients | None = None,
) -> Source:
    """Make the source called `name`.

    Args:
        name: yahoo, csv or sample.
        uploads: folder or `gs://bucket/prefix` that the csv source reads.
        gcp_project: Google Cloud project to read a bucket for; the credentials' own if None.
        gcp_credentials: base64-encoded service-account key; Application Default Credentials if None.
        gcs: a `GCSResource` to read a bucket by, instead of these two.

    Raises:
        StockcastError: if there is no such source.
    """
    if name == "sample":
        from stockcast_assets.market.sources.sample import SampleSource

        return SampleSource()
    if name == "csv":
        from stockcast_assets.market.sources.csvfile import CsvSource
        from stockcast_assets.market.sources.uploads import open_uploads

        return CsvSource(open_uploads(uploads, gcp_project, gcp_credentials, gcs))
    if name == "yahoo":
        from stockcast_assets.market.sources.yahoo import YahooSource

        return YahooSource()
    raise StockcastError(f"There is no source {name!r}: name one of {', '.join(SOURCES)}.")
