"""`stockcast evaluate`, from bars that are not there yet to the page and the MLflow run."""

import json
from collections.abc import Callable

import pytest
from mlflow import MlflowClient

from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets_tests.conftest import Cli
from stockcast_assets_tests.csvfiles import write_csv

KEYS = {
    "rmse_ratio_rw", "rmse_ratio_drift", "pinball_ratio_constant_vol", "pinball_ratio_vol60", "pinball_ratio_fhs",
    "pinball_ratio_har", "coverage_80", "n_cases",
}  # fmt: skip


def drop_csv(cli: Cli, name: str, sessions: int) -> None:
    """The last `sessions` of IBM before 2012-07 under another name, as a user would drop them."""
    bars = SampleSource().bars("IBM", None, "2012-06-29").tail(sessions)
    write_csv(cli.home / "inbox", name, bars)


@pytest.mark.timeout(300)
def test_tickers_dropped_as_csv_are_evaluated_without_touching_code(make_cli: Callable[..., Cli]) -> None:
    cli = make_cli(STOCKCAST_SOURCE="csv", STOCKCAST_START_DATE="2012-06-01", STOCKCAST_END_DATE="2012-06-29")
    drop_csv(cli, "NEW", 700)
    drop_csv(cli, "ALSO", 650)
    result = cli("evaluate", "NEW,ALSO", "--from", "2012-03-01", "--to", "2012-06-10", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert set(found) == {*KEYS, "as_known_on", "pooled", "by_ticker", "intervals", "contenders"}
    assert set(found["pooled"]) == KEYS
    assert {key: found[key] for key in KEYS} == found["pooled"]
    assert set(found["by_ticker"]) == {"NEW", "ALSO"}
    assert found["contenders"]["lstm"]["coverage_80"] == pytest.approx(found["coverage_80"])
    assert found["n_cases"] == sum(of["n_cases"] for of in found["by_ticker"].values()) == 2 * 70
    for key in KEYS - {"n_cases"}:
        low, high = found["intervals"]["pooled"][key]
        assert low <= found[key] <= high, key

    page = next((cli.home / "reports" / "evaluation").glob("*.html"))
    assert page.name == "NEW_ALSO_2012-03-01_2012-06-08.html"
    assert str(page) in result.stderr
    client = MlflowClient(f"sqlite:///{cli.home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("stockcast-evaluation")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["stockcast.tickers"] == "NEW,ALSO"
    assert run.data.metrics["rmse_ratio_rw"] == pytest.approx(found["rmse_ratio_rw"])
    assert run.data.metrics["NEW/coverage_80"] == pytest.approx(found["by_ticker"]["NEW"]["coverage_80"])
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {page.name, "scores.csv"}

    drop_csv(cli, "TINY", 90)
    short = cli("evaluate", "TINY", "--json")
    assert (short.returncode, short.stdout) == (1, "")
    (sentence,) = [line for line in short.stderr.splitlines() if line.startswith("error: ")]
    assert "TINY has 90 sessions" in sentence
    assert "needs at least" in sentence
