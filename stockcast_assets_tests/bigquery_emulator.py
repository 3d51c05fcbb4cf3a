"""Runs the BigQuery emulator in this process: `python -m stockcast_assets_tests.bigquery_emulator PORT`.

The Google client uploads with media type `*/*`, as real BigQuery allows; the emulator has to be told.
"""

import sys

from bqemulator.api.routes import upload
from bqemulator.config import LogLevel, Settings
from bqemulator.server import run_forever


def main() -> None:
    upload._PERMITTED_MEDIA_CONTENT_TYPES += ("*/*",)
    run_forever(
        Settings(
            rest_port=int(sys.argv[1]), grpc_port=0, log_level=LogLevel.ERROR, enable_format_extensions=False
        )
    )


if __name__ == "__main__":
    main()
