"""What a home remembers of itself, so that a setting left out means the same for as long as the home lives.

It is a small JSON file: whether its bars are the bundled sample's or come from elsewhere, which must not mix, and its
first daily key, which is the first of January of the year in which the home was made.
"""

import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

FILE = "home.json"


@dataclass(frozen=True)
class Memory:
    """What a home remembers.

    Attributes:
        source: where its bars come from.
        start_date: its first daily key where no setting says another, as YYYY-MM-DD.
    """

    source: str
    start_date: str


def recall(home: Path) -> Memory | None:
    """What a home remembers; None of one that is new, of an older release, or whose file cannot be read."""
    try:
        stored = json.loads((home / FILE).read_text(encoding="utf-8"))
        memory = Memory(str(stored["source"]), str(stored["start_date"]))
        date.fromisoformat(memory.start_date)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return memory


def memorise(home: Path, memory: Memory) -> None:
    """Write it, whole or not at all.

    Raises:
        OSError: if the home cannot be written.
    """
    new = home / f"{FILE}.new"
    new.write_text(json.dumps(asdict(memory), indent=2) + "\n", encoding="utf-8")
    new.replace(home / FILE)
