"""The home is its account's alone, whatever the umask and whoever made it, and where one stands decides nothing."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stockcast_assets.cli import servers
from stockcast_assets.errors import StockcastError
from stockcast_assets.market.sources.rate_limit import own_limiter
from stockcast_assets.orchestration.home import open_instance, passwords_in_clear
from stockcast_assets.private_files import make_private, own_folder, private_process, whose
from stockcast_assets.settings import Settings, load_settings
from stockcast_assets_tests.conftest import Run

STRANGER = 4242

Spoil = Callable[[Path, pytest.MonkeyPatch], None]


@pytest.fixture(params=[0o000, 0o022])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """What others may do something with, the folder itself included."""
    found = [folder, *folder.rglob("*")]
    return [str(path) for path in found if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_a_new_home_is_private_whatever_the_umask(umask: int, tmp_path: Path, run: Run) -> None:
    home = tmp_path / "home"
    status, _, err = run("tickers", "add", "MSFT")
    assert status == 0, err
    assert {path.name for path in home.rglob("*.db")} >= {"runs.db", "schedules.db"}
    assert (home / "dagster" / "dagster.yaml").exists()
    assert open_to_others(home) == []
    # The process that started the command keeps its own.
    assert os.umask(umask) == umask
    assert "PYTHONSAFEPATH" not in os.environ


def test_an_existing_home_is_closed_when_it_is_opened(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    (home / "dagster" / "history" / "runs").mkdir(parents=True)
    outside.write_text("not ours")
    outside.chmod(0o666)
    for name in ("warehouse.duckdb", "mlflow.db", "dagster/dagster.yaml", "dagster/history/runs/x.db"):
        (home / name).write_text("")
        (home / name).chmod(0o666)
    (home / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}")
    (home / "link").symlink_to(outside)
    home.chmod(0o777)
    with private_process(), open_instance(Settings(home=home)):
        pass
    assert open_to_others(home) == []
    assert stat.S_IMODE(outside.stat().st_mode) == 0o666


def test_a_database_that_was_opened_up_later_is_closed_again(tmp_path: Path) -> None:
    make_private(tmp_path)
    database = tmp_path / "dagster" / "runs.db"
    database.parent.mkdir()
    database.write_text("")
    database.chmod(0o644)
    make_private(tmp_path)
    assert open_to_others(tmp_path) == []


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder one stands in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def theirs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    else:
        # Only root may give a file away: then we are the stranger.
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)


def everybodys(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.chmod(0o777)


FOREIGN = [theirs, everybodys]


@pytest.mark.parametrize("spoil", FOREIGN)
def test_a_foreign_home_where_one_stands_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch, spoil: Spoil) -> None:
    (here / ".stockcast").mkdir()
    load_settings()
    spoil(here / ".stockcast", monkeypatch)
    with pytest.raises(StockcastError, match=r"\.stockcast (belongs|may be changed).*STOCKCAST_HOME") as caught:
        load_settings()
    assert "\n" not in str(caught.value)
    # Named, it was chosen.
    monkeypatch.setenv("STOCKCAST_HOME", ".stockcast")
    assert load_settings().home == here / ".stockcast"


@pytest.mark.parametrize("spoil", FOREIGN)
def test_a_foreign_env_file_redirects_nothing(here: Path, monkeypatch: pytest.MonkeyPatch, spoil: Spoil) -> None:
    (here / ".env").write_text("STOCKCAST_MLFLOW_URI=http://elsewhere.example.com")
    assert load_settings().mlflow_uri is not None
    spoil(here / ".env", monkeypatch)
    with pytest.raises(StockcastError, match=r"\.env (belongs|may be changed)"):
        load_settings()
    (here / ".env").unlink()
    assert load_settings().mlflow_uri is None


@pytest.mark.parametrize("name", [".env", ".stockcast"])
def test_a_link_of_somebody_else_is_foreign_though_it_leads_to_ones_own(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    own = tmp_path / "own"
    if name == ".env":
        own.write_text("STOCKCAST_SOURCE=csv")
    else:
        own.mkdir()
    (here / name).symlink_to(own)
    load_settings()
    theirs(here / name, monkeypatch)
    with pytest.raises(StockcastError, match="belongs to another account"):
        load_settings()


def test_a_group_of_its_own_is_the_account_and_any_other_is_not() -> None:
    def stat_of(mode: int, group: int) -> os.stat_result:
        return os.stat_result((stat.S_IFDIR | mode, 0, 0, 1, os.geteuid(), group, 0, 0, 0, 0))

    assert whose(stat_of(0o770, os.geteuid())) is None
    assert whose(stat_of(0o750, STRANGER)) is None
    assert whose(stat_of(0o770, STRANGER)) == "may be changed by a group of accounts"


def test_what_is_said_to_do_about_it_helps(here: Path) -> None:
    (here / ".stockcast").mkdir()
    (here / ".env").write_text("STOCKCAST_SOURCE=csv")
    for name in (".stockcast", ".env"):
        (here / name).chmod(0o777)
    for remedy in ("chmod go-w .env", "chmod -R go-w .stockcast"):
        with pytest.raises(StockcastError, match=remedy):
            load_settings()
        assert os.system(remedy) == 0
    assert load_settings().source == "csv"


def test_a_fifo_for_an_env_file_stops_nothing(here: Path) -> None:
    os.mkfifo(here / ".env", 0o600)
    assert load_settings().source == "yahoo"


def test_a_link_in_the_shared_temporary_folder_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import getpass

    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / f"stockcast-{getpass.getuser()}").symlink_to(target)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own_limiter.cache_clear()
    assert own_limiter().try_acquire("yahoo")
    own_limiter.cache_clear()
    assert "holds for this process alone" in caplog.text
    assert list(target.iterdir()) == []


def test_a_folder_of_ones_own_is_made_private_or_refused(tmp_path: Path) -> None:
    with private_process():
        folder = own_folder(tmp_path / "new")
        assert own_folder(folder) == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    (tmp_path / "file").write_text("")
    for wrong in (folder, tmp_path / "file"):
        with pytest.raises(PermissionError):
            own_folder(wrong)


def test_a_password_in_dagsters_configuration_is_pointed_out(tmp_path: Path, run: Run) -> None:
    home = tmp_path / "home"
    with private_process(), open_instance(Settings(home=home)):
        assert passwords_in_clear(home / "dagster") == []
    config = home / "dagster" / "dagster.yaml"
    plain = config.read_text()
    config.write_text(
        f"{plain}\n# password: x\nx:\n  postgres_url: 'postgresql://anna:word@host/db'\n  password: hunter2\n"
        "  other_password: {env: PG}\n  password:\n    env: PG\n  base_url: https://host/path\n"
    )
    assert passwords_in_clear(home / "dagster") == ["postgres_url", "password"]
    level = "python_log_level: INFO\n"
    formatter = "  dagster_handler_config:\n    formatters:\n      x:\n        format: x\n        password: hunter2\n"
    config.write_text(plain.replace(level, level + formatter))
    assert "holds password in clear" in " ".join(run("tickers", "list").err.split())


def test_foreign_settings_of_streamlit_are_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / ".streamlit").mkdir()
    config = here / ".streamlit" / "config.toml"
    config.write_text("[server]\nbaseUrlPath = 'x'")
    theirs(config, monkeypatch)
    with pytest.raises(StockcastError, match=r"config\.toml belongs to another account"):
        servers.dashboard("127.0.0.1", 1)


def test_a_matplotlibrc_where_one_stands_changes_no_picture(here: Path) -> None:
    draw = """
import hashlib
import pandas as pd
from stockcast_assets.charts.png import drift_png
row = {"ticker": "X", "date": "2013-01-02", "feature": "a", "method": "psi", "score": 0.2, "threshold": 0.1}
print(hashlib.sha256(drift_png(pd.DataFrame([row | {"drifted": True}]))).hexdigest())
"""
    pictures = set()
    for lines in ("", "text.usetex: True\ntext.latex.preamble: \\\\input{/etc/hostname}\naxes.facecolor: red\n"):
        (here / "matplotlibrc").write_text(lines)
        drawn = subprocess.run(
            [sys.executable, "-P", "-c", draw], capture_output=True, text=True, check=False, timeout=120
        )
        assert drawn.returncode == 0, drawn.stderr
        pictures.add(drawn.stdout)
    assert len(pictures) == 1
