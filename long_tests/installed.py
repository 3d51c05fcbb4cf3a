"""A stockcast that was installed from its wheel, into an environment of its own beside an empty folder."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from stockcast_assets_tests.conftest import clean_env

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Empty:
    """A folder with nothing in it, and a stockcast that was installed from its wheel."""

    folder: Path
    environment: Path

    @property
    def env(self) -> dict[str, str]:
        """Nothing of this checkout: neither its environment nor its folder."""
        kept = {name: value for name, value in clean_env().items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
        return kept | {"PATH": f"{self.environment / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{arguments[0]}.log").open("wb")
        command = [self.environment / "bin" / "stockcast", *arguments]
        return subprocess.Popen(command, cwd=self.folder, env=self.env | env, stdout=log, stderr=log)

    def __call__(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [self.environment / "bin" / "stockcast", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.env | env, capture_output=True, text=True, timeout=1500, check=False
        )


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Empty:
    """The wheel, installed by pip and by nothing else, in the versions of the runtime lock where it names them."""
    built = tmp_path_factory.mktemp("built")
    folder = tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", built], cwd=ROOT, check=True)
    (wheel,) = built.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", built / "venv"], check=True)
    # A constraints file takes no hashes: those of what is installed were checked when this environment was made.
    names = [line.split(" \\")[0] for line in (ROOT / "requirements-runtime.lock").read_text().splitlines()]
    constraints = built / "constraints.txt"
    constraints.write_text("\n".join(name for name in names if "==" in name and not name.startswith(" ")))
    pip = [built / "venv" / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, "--constraint", constraints, wheel], cwd=folder, check=True)
    return Empty(folder, built / "venv")
