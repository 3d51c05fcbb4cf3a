#!/bin/sh
# warm.sh worker|services: run what the image is for, so that Python compiles what is used, and only that: a read-only
# root keeps nothing.
# It fails where `slim.sh` took too much.
set -eu
home=$(mktemp -d)
cd "$home"
export STOCKCAST_HOME="$home/.stockcast" STOCKCAST_SOURCE=sample DO_NOT_TRACK=1 TF_CPP_MIN_LOG_LEVEL=3
case "$1" in
worker) stockcast demo --sessions 2 ;;
services) stockcast status ;;
esac
python - <<'PYTHON'
"""Every module of ours, and what the three pages, the sources and the clouds import when they are used."""
import pkgutil
from importlib import import_module

import stockcast_assets

# Streamlit's own to run, and what imports TensorFlow as a process begins to train: the demo has it compiled.
APART = ("stockcast_assets.dashboard.", "stockcast_assets.forecasting.training.forkserver_preload")
for module in pkgutil.walk_packages(stockcast_assets.__path__, "stockcast_assets."):
    if not module.name.startswith(APART):
        import_module(module.name)
for name in (
    "curl_cffi", "dagster._cli.api", "dagster._daemon.cli", "dagster_graphql", "dagster_postgres", "dagster_webserver.app",
    "google.cloud.bigquery", "google.cloud.storage", "mlflow.server", "plotly.graph_objects", "streamlit.web.bootstrap",
    "uvicorn", "yfinance",
):
    import_module(name)
PYTHON
# Drift reports are made on request: what they import is there, and is not kept compiled.
python -B -c "from evidently import Dataset, Report; from evidently.presets import DataDriftPreset"
cd /
rm -rf "$home"
