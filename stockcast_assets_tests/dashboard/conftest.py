import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st

from stockcast_assets.dashboard import data
from stockcast_assets.settings import load_settings
from stockcast_assets_tests.conftest import Shared
from stockcast_assets_tests.dashboard.home import fill


@pytest.fixture(scope="session")
def filled_home(tmp_path_factory: pytest.TempPathFactory, shared_folder: Shared) -> Path:
    """A home whose tables hold two tickers; do not write to it."""
    with shared_folder("filled") as folder:
        made = folder / "home"
        if not made.exists():
            made.mkdir()
            fill(made)
        return shutil.copytree(made, tmp_path_factory.mktemp("filled") / "home")


@pytest.fixture(scope="module", autouse=True)
def nothing_is_kept() -> Iterator[None]:
    yield
    st.cache_data.clear()
    st.cache_resource.clear()


def _use(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Serve a home; what pages read of one, the next test finds as the next visitor does."""
    monkeypatch.setenv("STOCKCAST_HOME", str(home))
    monkeypatch.setenv("STOCKCAST_SOURCE", "sample")
    if data.settings() != load_settings():
        st.cache_data.clear()
        st.cache_resource.clear()


@pytest.fixture
def home(filled_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The filled home, as this process's settings name it."""
    _use(monkeypatch, filled_home)
    return filled_home


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which nothing was ever run."""
    _use(monkeypatch, tmp_path)
    return tmp_path
