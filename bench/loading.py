"""CPU seconds to import the definitions, beside those to import Dagster, in turns in the same run.

python bench/loading.py
python bench/loading.py --times 15 --calendars XNYS
"""

import argparse
import os
import subprocess
import sys
import tempfile
from statistics import median

MODULES = ("dagster", "stockcast_assets.cli", "stockcast_assets.definitions")
SCRIPT = "import time, {module}; print(time.process_time())"


def seconds(module: str, env: dict[str, str]) -> float:
    """CPU seconds of a fresh process that imports the module, its own start included."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(module=module)], env=env, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--calendars", default="XNYS,24/7", help="STOCKCAST_CALENDARS")
    arguments = parser.parse_args()
    env = {name: value for name, value in os.environ.items() if not name.startswith("STOCKCAST_")}
    # Whoever imports twice has compiled once.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as home:
        env |= {"STOCKCAST_HOME": home, "STOCKCAST_CALENDARS": arguments.calendars}
        for module in MODULES:
            seconds(module, env)
        rounds = [{module: seconds(module, env) for module in MODULES} for _ in range(arguments.times)]
    print(f"median of {arguments.times} processes each, calendars {arguments.calendars}")
    for module in MODULES:
        ratio = median(took[module] / took["dagster"] for took in rounds)
        print(f"{module:30} {median(took[module] for took in rounds):6.2f} CPU s {ratio:6.2f} x dagster")


if __name__ == "__main__":
    main()
