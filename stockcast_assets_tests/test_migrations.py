"""What is opened once a tick for months leaves nothing behind in the process."""

import gc
from pathlib import Path

import dagster as dg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from stockcast_assets.dagster_private.migrations import read_migrations_once
from stockcast_assets.orchestration.home import default_config

OPENINGS = 20


def test_opening_an_instance_again_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE", raising=False)
    (tmp_path / "dagster.yaml").write_text(default_config())
    with dg.DagsterInstance.get() as instance:
        ref = instance.get_ref()

    def opened(times: int) -> int:
        for _ in range(times):
            with dg.DagsterInstance.from_ref(ref) as again:
                assert again.get_runs() == []
        gc.collect()
        return len(gc.get_objects())

    before = opened(3)
    assert opened(OPENINGS) - before < OPENINGS


def test_only_what_dagster_reads_is_kept(tmp_path: Path) -> None:
    read_migrations_once()
    (tmp_path / "versions").mkdir()
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    assert list(ScriptDirectory.from_config(config).walk_revisions()) == []
    (tmp_path / "versions" / "first.py").write_text("revision, down_revision = 'first', None\n")
    assert [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()] == ["first"]
