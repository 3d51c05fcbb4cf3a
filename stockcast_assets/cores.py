"""How many cores this process may use: in a container, fewer than the machine has."""

import math
import os
from pathlib import Path


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """At least one.

    What the process is bound to, and no more than the limit of its container, rounded up: more processes that compute
    than that wait for each other, each with its memory.

    Args:
        cgroup: where Linux tells of the limits of this process's group (cgroups(7), of either version).
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min([bound, *_limits(cgroup)])))


def _limits(cgroup: Path) -> list[float]:
    """Cores that the group may keep busy; nothing where there is no limit."""
    texts = [_text(cgroup / "cpu.max")]
    texts.append(f"{_text(cgroup / 'cpu' / 'cpu.cfs_quota_us')} {_text(cgroup / 'cpu' / 'cpu.cfs_period_us')}")
    numbers = [[int(word) for word in text.split() if word.isdecimal()] for text in texts]
    # "max 100000", and "-1 100000", are no limit.
    return [pair[0] / pair[1] for pair in numbers if len(pair) == 2 and min(pair) > 0]


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
