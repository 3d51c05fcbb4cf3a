"""Settings: defaults that go with the source, and one sentence for every wrong value."""

import traceback
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.settings import Settings, load_settings


def test_defaults_follow_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().source == "yahoo"
    assert load_settings().end_date is None
    monkeypatch.setenv("STOCKCAST_SOURCE", "sample")
    settings = load_settings()
    assert (settings.start_date, settings.end_date) == (date(2013, 1, 1), date(2013, 3, 1))


def test_everything_lives_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STOCKCAST_HOME", "some/where")
    settings = load_settings()
    home = tmp_path.resolve() / "some" / "where"
    assert settings.home == home
    assert {settings.database, settings.dagster_home, settings.artifacts} == {
        home / "warehouse.duckdb",
        home / "dagster",
        home / "artifacts",
    }
    assert settings.reports_location == str(home / "reports")
    assert settings.uploads_location == str(home / "inbox")
    assert settings.mlflow_tracking_uri == f"sqlite:///{home / 'mlflow.db'}"


def test_lists_are_split_and_deduplicated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKCAST_TICKERS", " MSFT, AAPL,,MSFT ")
    assert load_settings().tickers == ("MSFT", "AAPL")


def test_a_dotenv_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("STOCKCAST_SOURCE=csv\nSTOCKCAST_TICKERS=IBM\n")
    monkeypatch.setenv("STOCKCAST_TICKERS", "MSFT")
    settings = load_settings()
    assert (settings.source, settings.tickers) == ("csv", ("MSFT",))


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"STOCKCAST_SOURCE": "bloomberg"}, "STOCKCAST_SOURCE"),
        ({"STOCKCAST_WAREHOUSE": "postgres"}, "STOCKCAST_WAREHOUSE"),
        ({"STOCKCAST_WAREHOUSE": "bigquery"}, "STOCKCAST_GCP_PROJECT"),
        ({"STOCKCAST_START_DATE": "2012-13-01"}, "STOCKCAST_START_DATE"),
        ({"STOCKCAST_START_DATE": "2012-01-05", "STOCKCAST_END_DATE": "2012-01-04"}, "STOCKCAST_END_DATE"),
        ({"STOCKCAST_BQ_DATASET": "a; DROP TABLE b"}, "STOCKCAST_BQ_DATASET"),
        ({"STOCKCAST_TRAIN_WORKERS": "0"}, "STOCKCAST_TRAIN_WORKERS"),
        ({"STOCKCAST_REPORTS_KEEP_DAYS": "0"}, "STOCKCAST_REPORTS_KEEP_DAYS"),
        ({"STOCKCAST_DASHBOARD_URL": "localhost:8501"}, "STOCKCAST_DASHBOARD_URL"),
    ],
)
def test_a_wrong_value_is_one_sentence_naming_the_variable(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StockcastError) as caught:
        load_settings()
    sentence = str(caught.value)
    assert named in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_a_misspelt_variable_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKCAST_TICKER", "MSFT")
    with pytest.warns(UserWarning, match="STOCKCAST_TICKER is not a stockcast setting; did you mean STOCKCAST_TICKERS"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STOCKCAST_GCP_CREDENTIALS", "c2VjcmV0LWNhbmFyeQ=="),
        ("STOCKCAST_MLFLOW_URI", "https://anna:canary%2Cword@mlflow.example.com"),
        ("STOCKCAST_MLFLOW_URI", "postgresql://anna:canary/wo@rd@db.example.com/mlflow"),
        ("STOCKCAST_ALERTS", "slack://canaryAAA/canaryBBB/canaryCCC, mailto://anna:canary@example.com"),
        ("STOCKCAST_DASHBOARD_URL", "https://anna:canary@stocks.example.com"),
    ],
)
def test_a_secret_never_shows(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    settings = load_settings()
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()} {settings.mlflow_uri}"
    assert "canary" not in shown
    assert "c2VjcmV0" not in shown


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STOCKCAST_ALERTS", "canary-token"),
        ("STOCKCAST_ALERTS", "slack://a/b/c,canary:canary@host"),
        ("STOCKCAST_MLFLOW_URI", "anna:canary@mlflow.example.com"),
    ],
)
def test_not_even_where_it_is_wrong(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    if "slack" in value:
        assert len(load_settings().alerts) == 1
        return
    with pytest.raises(StockcastError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{variable} is not usable")
    assert "canary" not in "".join(traceback.format_exception(caught.value))


@given(st.lists(st.text("ab,;@/?#%1 é", max_size=8), min_size=1, max_size=4))
def test_a_comma_in_a_password_cuts_no_alert(passwords: list[str]) -> None:
    urls = [f"json://user{position}:{password.strip()}@host" for position, password in enumerate(passwords)]
    assert [url.get_secret_value() for url in Settings(alerts=",".join(urls)).alerts] == urls  # type: ignore[arg-type]
    assert [url.get_secret_value() for url in Settings(alerts=" , ".join(urls)).alerts] == urls  # type: ignore[arg-type]


def test_the_dashboards_links_have_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKCAST_DASHBOARD_URL", "https://anna:word@stocks.example.com/app/")
    assert load_settings().dashboard_url == "https://stocks.example.com/app"
