"""How many processes train side by side where nobody says it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stockcast_assets.cores import usable_cores

HERE = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, HERE),
        ({"cpu.max": "max 100000\n"}, HERE),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": f"{HERE - 1}50000 100000\n"}, HERE),
        ({"cpu.max": "6400000 100000\n"}, HERE),
        ({"cpu.max": "0 100000\n"}, HERE),
        ({"cpu.max": "what is this\n"}, HERE),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, HERE),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000\n"}, HERE),
    ],
)
def test_a_container_has_the_cores_that_it_may_use(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path) == cores


def test_who_is_bound_to_a_core_trains_in_one_process() -> None:
    asked = "from stockcast_assets.settings import Settings; print(Settings().train_workers)"
    bound = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})\n{asked}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STOCKCAST_")}
    done = subprocess.run([sys.executable, "-c", bound], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
