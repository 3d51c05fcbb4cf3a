"""methods.py and tables.py: a method's name and an indicator's window are written once."""

import ast
from pathlib import Path

import pytest

import stockcast_assets
from stockcast_assets import methods, tables
from stockcast_assets.methods import LABELS, METHODS, RATIOS

ROOT = Path(stockcast_assets.__file__).parent
# "lstm", "drift" and "mix" are names of other things too, of fields and of what commands print; lightgbm is a package.
NAMES = set(LABELS) - {"lstm", "drift", "mix", "lightgbm"}
WORDS = {method.label for method in METHODS.values()} - {"LSTM"} | {ratio.shown for ratio in RATIOS.values()}


def strings(file: Path) -> set[str]:
    return {
        node.value
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.mark.parametrize(
    ("written", "where"),
    [
        (NAMES | WORDS, methods),
        ({tables.RSI, tables.RSI_LABEL, tables.MACD_LABEL, tables.VOLATILITY}, tables),
    ],
    ids=["methods", "windows"],
)
def test_no_other_module_writes_it_again(written, where):
    again = {
        f"{file.relative_to(ROOT)}: {text}"
        for file in ROOT.rglob("*.py")
        if file != Path(where.__file__)
        for text in strings(file) & written
    }
    assert not again


def test_every_ratio_is_a_column_and_names_a_method():
    columns = {name for name in tables.TRAINED_MODEL.column_names if "_ratio_" in name}
    assert columns - {"rmse_ratio_rw_low", "rmse_ratio_rw_high"} == set(RATIOS)
    assert {ratio.baseline for ratio in RATIOS.values()} <= set(METHODS)


def test_the_document_calls_the_baselines_what_the_pages_call_them():
    text = (ROOT.parent / "docs" / "forecasting.md").read_text("utf-8").replace("×", "x")
    assert [name for name in METHODS if f"| {METHODS[name].label}" not in text] == []
