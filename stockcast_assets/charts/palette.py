"""The colours of every picture, whoever paints it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """Colours of one theme. `rgb` is the forecast's colour for bands of different opacity."""

    ink: str
    muted: str
    grid: str
    close: str
    forecast: str
    rgb: str
    happened: str
    averages: tuple[str, str]
    lines: tuple[str, ...]


LIGHT = Palette(
    ink="#1b2733",
    muted="#5c6b7a",
    grid="#e6eaee",
    close="#26415e",
    forecast="#0f766e",
    rgb="15,118,110",
    happened="#c2410c",
    averages=("#b45309", "#7c3aed"),
    lines=("#0f766e", "#b45309", "#7c3aed", "#0369a1", "#be185d"),
)
DARK = Palette(
    ink="#e6edf3",
    muted="#9aa9b8",
    grid="#26323e",
    close="#a9c7e8",
    forecast="#2dd4bf",
    rgb="45,212,191",
    happened="#fb923c",
    averages=("#fbbf24", "#c4b5fd"),
    lines=("#2dd4bf", "#fbbf24", "#c4b5fd", "#38bdf8", "#f472b6"),
)
