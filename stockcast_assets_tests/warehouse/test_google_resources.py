"""dagster-gcp's resources as they are here: on real servers, in IO manager, uploads and reports, no key shown."""

import json
import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import dagster_gcp
import pandas as pd
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.bigquery import Client

from stockcast_assets.errors import StockcastError
from stockcast_assets.google.credentials import ServiceAccountKey
from stockcast_assets.google.resources import BigQueryResource, GCSResource
from stockcast_assets.monitoring.reports import ReportStore
from stockcast_assets.orchestration.build import build_definitions
from stockcast_assets.settings import Settings
from stockcast_assets.warehouse import BigQueryWarehouseIOManager
from stockcast_assets_tests.conftest import Cli
from stockcast_assets_tests.integration.dagster_dev import DagsterDev, dagster_dev
from stockcast_assets_tests.warehouse.conftest import Store

CANARY = "canary-7d20aa"
KEY = b64encode(json.dumps({"private_key": CANARY}).encode()).decode()


@dg.asset
def visits() -> pd.DataFrame:
    return pd.DataFrame({"visits": [42]})


def materialised(manager: BigQueryWarehouseIOManager, **resources: Any) -> bool:
    return dg.materialize([visits], resources={"io_manager": manager, **resources}).success


def test_the_io_manager_writes_through_the_resource_it_is_given(
    bigquery: Store, bigquery_emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours, by its endpoint alone, and one of dagster-gcp, whose project comes from the environment."""

    class Theirs(dagster_gcp.BigQueryResource):
        @contextmanager
        def get_client(self) -> Iterator[Client]:
            yield Client(project=self.project, credentials=AnonymousCredentials())

    dataset = bigquery.warehouse.schema
    monkeypatch.setenv("PROJECT", "test-project")
    theirs = Theirs(project=dg.EnvVar("PROJECT"))
    assert materialised(BigQueryWarehouseIOManager(dataset=dataset, bigquery=theirs), bigquery=theirs)
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST")
    ours = BigQueryResource(project="test-project", endpoint=bigquery_emulator, credentials=AnonymousCredentials())
    labels = {"team": "web"}
    assert materialised(BigQueryWarehouseIOManager(dataset=dataset, bigquery=ours, labels=labels), bigquery=ours)
    with ours.get_client() as client:
        assert [row.visits for row in client.query(f"SELECT visits FROM {dataset}.visits").result()] == [42]  # noqa: S608


def test_a_client_is_closed_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(storage.Client, "close", lambda self: closed.append("gcs"))
    monkeypatch.setattr("google.cloud.bigquery.Client.close", lambda self: closed.append("bigquery"))
    with BigQueryResource(project="p", credentials=AnonymousCredentials()).get_client():
        assert closed == []
    with GCSResource(project="p", credentials=AnonymousCredentials()).process_config_and_initialize_cm() as ready:
        assert ready.get_client() is ready.get_client()
    assert closed == ["bigquery", "gcs"]


def test_an_io_manager_without_a_project_says_so() -> None:
    with pytest.raises(StockcastError, match="give it 'project', or a BigQueryResource with one"):
        BigQueryWarehouseIOManager(dataset="web").warehouse()


def test_reports_and_uploads_go_through_the_bucket_resource(
    storage_client: storage.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = GCSResource(project="test", endpoint=os.environ["STORAGE_EMULATOR_HOST"])
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    mine.get_client().bucket("handed-in").create()
    store = ReportStore("gs://handed-in/drift", gcs=mine)
    assert store.record("AAPL", pd.Timestamp("2024-01-02").date()) is None
    settings = Settings(home=tmp_path, source="csv", uploads="gs://handed-in/inbox", gcp_project="test")
    definitions = build_definitions(settings, gcs=mine)
    assert definitions.resources is not None
    mine.get_client().bucket("handed-in").blob("inbox/AAPL.csv").upload_from_string(
        "Date,Open,High,Low,Close,Adj Close,Volume\n2012-06-01,1,1,1,1,1,1\n"
    )
    with dg.build_resources({"sources": definitions.resources["sources"]}) as resources:
        bars = resources.sources.get("csv").bars("AAPL", None, pd.Timestamp("2012-06-01").date())
    assert bars["close"].tolist() == [1.0]


@pytest.mark.parametrize("resource", [BigQueryResource, GCSResource])
def test_a_key_is_an_object_that_shows_nothing(resource: type) -> None:
    made = resource(project="p", credentials=ServiceAccountKey(KEY, "THE_SETTING"))
    shown = made.get_resource_definition().config_schema.default_value_as_json_str
    for text in (repr(made), str(made), shown, repr(ServiceAccountKey(KEY))):
        assert KEY not in text
        assert CANARY not in text
    told = "THE_SETTING is not a base64-encoded service-account key"
    with made.process_config_and_initialize_cm() as ready, pytest.raises(StockcastError, match=told) as caught:
        ready.get_client().__enter__()
    assert caught.value.__cause__ is None
    assert CANARY not in str(caught.value)


def test_dagster_s_own_resource_with_a_key_is_shown_without_it(tmp_path: Path) -> None:
    theirs = dagster_gcp.BigQueryResource(project="p", gcp_credentials=KEY)
    settings = Settings(home=tmp_path, source="sample", warehouse="bigquery", gcp_project="p")
    definitions = build_definitions(settings, bigquery=theirs)
    assert definitions.resources is not None
    shown = definitions.resources["bigquery"].config_schema.default_value_as_json_str
    assert json.loads(shown)["gcp_credentials"] == "(hidden)"


RESOURCES = """
query Resources($of: RepositorySelector!) {
  allTopLevelResourceDetailsOrError(repositorySelector: $of) {
    ... on ResourceDetailsList { results {
      name description resourceType configuredValues { key value type }
      configFields { name defaultValueAsJson }
      nestedResources { name type }
    } }
    ... on PythonError { message }
  }
}
"""
CODE = {"repositoryLocationName": "stockcast", "repositoryName": "__repository__"}
LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { message }
  }
}
"""
SCHEMA = """
query Schema($job: String!) {
  runConfigSchemaOrError(selector: {
    repositoryLocationName: "stockcast", repositoryName: "__repository__", pipelineName: $job
  }) {
    ... on RunConfigSchema { rootDefaultYaml allConfigTypes { key description ... on CompositeConfigType {
      fields { name description defaultValueAsJson }
    } } }
  }
}
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterDev]:
    """The Dagster UI on a home in the cloud whose every secret is a canary."""
    home = tmp_path_factory.mktemp("cloud") / "home"
    home.mkdir()
    secrets = {
        "STOCKCAST_SOURCE": "sample",
        "STOCKCAST_WAREHOUSE": "bigquery",
        "STOCKCAST_GCP_PROJECT": "some-project",
        "STOCKCAST_GCP_CREDENTIALS": KEY,
        "STOCKCAST_UPLOADS": "gs://some-bucket/inbox",
        "STOCKCAST_MLFLOW_URI": f"http://robot:{CANARY}@127.0.0.1:1",
        "STOCKCAST_ALERTS": f"json://robot:{CANARY}@127.0.0.1:1",
        "STOCKCAST_AUTOMATION": "false",
        "CANARY": CANARY,
    }
    with dagster_dev(Cli(home, secrets)) as server:
        yield server


def test_the_resources_page_shows_configuration_and_no_secret(page: DagsterDev) -> None:
    data = page.graphql(RESOURCES, of=CODE)["allTopLevelResourceDetailsOrError"]
    found = {each["name"]: each for each in data["results"]}
    assert {"warehouse", "io_manager", "bigquery", "gcs", "mlflow", "registry", "sources", "reports"} <= set(found)
    values = {name: {v["key"]: v["value"] for v in each["configuredValues"]} for name, each in found.items()}
    assert values["bigquery"]["project"] == '"some-project"'
    assert values["sources"]["uploads"] == '"gs://some-bucket/inbox"'
    assert [nested["name"] for nested in found["io_manager"]["nestedResources"]] == ["bigquery"]
    assert KEY not in json.dumps(data)
    assert CANARY not in json.dumps(data)


def test_no_launch_changes_a_resource_or_reads_the_environment(page: DagsterDev) -> None:
    for section in (
        {"resources": {"io_manager": {"config": {"project": "elsewhere"}}}},
        {"resources": {"io_manager": {"config": {"project": {"env": "CANARY"}}}}},
        {"resources": {"bigquery": {"config": {"endpoint": "http://127.0.0.1:1"}}}},
        {"resources": {"sources": {"config": {"uploads": "gs://elsewhere"}}}},
        {"resources": {"registry": {"config": {"tracking_uri": "http://127.0.0.1:1"}}}},
        {"resources": {"mlflow": {"config": {"tracking_uri": "http://127.0.0.1:1"}}}},
        {"ops": {"raw_prices": {"config": {"source": {"env": "CANARY"}}}}},
    ):
        params = {"selector": {**CODE, "pipelineName": "ingest_daily"}, "runConfigData": json.dumps(section)}
        answer = page.graphql(LAUNCH, params=params)["launchRun"]
        assert answer["__typename"] == "RunConfigValidationInvalid", (section, answer)
        assert CANARY not in json.dumps(answer)


@pytest.mark.parametrize("job", ["daily_forecast", "monthly_training", "tune", "__ASSET_JOB"])
def test_no_schema_of_a_job_holds_a_secret(page: DagsterDev, job: str) -> None:
    text = json.dumps(page.graphql(SCHEMA, job=job))
    assert "rootDefaultYaml" in text
    assert KEY not in text
    assert CANARY not in text
