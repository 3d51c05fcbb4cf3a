from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st

from stockcast_assets_tests.dashboard.home import fill


@pytest.fixture(scope="session")
def filled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose tables hold two tickers; do not write to it."""
    home = tmp_path_factory.mktemp("home")
    fill(home)
    return home


def _use(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("STOCKCAST_HOME", str(home))
    monkeypatch.setenv("STOCKCAST_SOURCE", "sample")
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def home(filled_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The filled home, as this process's settings name it."""
    _use(monkeypatch, filled_home)
    yield filled_home
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home in which nothing was ever run."""
    _use(monkeypatch, tmp_path)
    yield tmp_path
    st.cache_data.clear()
    st.cache_resource.clear()
