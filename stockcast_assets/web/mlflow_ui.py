"""MLflow's server behind the guard: `mlflow server --app-name stockcast` finds it as a plugin of MLflow.

MLflow has a protection of its own, which takes any page of this machine for its own, whatever port it came from.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stockcast_assets.json_logs import write_json
from stockcast_assets.settings import load_settings
from stockcast_assets.web.guard import LOOPBACK, Guard, Policy

if TYPE_CHECKING:
    from starlette.types import ASGIApp

POLICY = Policy(
    csp=(
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; frame-src 'self' blob:; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
    ),
    # An agent that runs commands, and services that call other servers: stockcast keeps models and their scores here.
    closed=("/ajax-api/3.0/mlflow/assistant/", "/gateway/", "/ajax-api/2.0/mlflow/gateway-proxy"),
    # It shows an artifact that is a page in a frame.
    embeds_itself=True,
)


def create_app() -> "ASGIApp":
    """MLflow's application as `mlflow server` would serve it, guarded."""
    from mlflow.server.fastapi_app import app

    settings = load_settings()
    if settings.log_format == "json":
        # Uvicorn has set its own up by now.
        write_json()
    return Guard(app, settings.allowed_hosts, POLICY)


def protection(hosts: Sequence[str]) -> dict[str, str]:
    """Environment of MLflow's own protection: its defaults take every name that begins like a private address."""
    known = [host.replace("[", "[[]") for host in (*LOOPBACK, *hosts)]
    origins = [f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")]
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(each for host in known for each in (host, f"{host}:*")),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "SAMEORIGIN",
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "false",
    }
