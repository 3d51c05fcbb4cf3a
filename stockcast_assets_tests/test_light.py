"""Importing the definitions must stay light: the Dagster UI and every code server pay for it at each start."""

import subprocess
import sys
from pathlib import Path

from stockcast_assets_tests.conftest import clean_env

HEAVY = (
    "tensorflow", "keras", "mlflow", "evidently", "google.cloud", "yfinance", "streamlit", "pandera", "matplotlib",
    "scipy", "optuna", "statsforecast",
)  # fmt: skip
SCRIPT = f"""
import sys
import stockcast_assets.definitions
print([name for name in {HEAVY!r} if name in sys.modules])
"""


def imported(home: Path, **env: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=clean_env() | {"STOCKCAST_HOME": str(home), **env},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return result.stdout.strip()


def test_the_definitions_load_none_of_the_heavy_libraries(tmp_path: Path) -> None:
    assert imported(tmp_path) == "[]"


def test_not_even_with_bigquery_and_a_bucket(tmp_path: Path) -> None:
    cloud = {"STOCKCAST_WAREHOUSE": "bigquery", "STOCKCAST_GCP_PROJECT": "p", "STOCKCAST_UPLOADS": "gs://bucket/in"}
    assert imported(tmp_path, **cloud) == "[]"
