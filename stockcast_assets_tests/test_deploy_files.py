"""The files of deploy/ that describe a cloud: they parse, fit schemas and each other, and grant no more than asked.

They are applied to no live project here.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import hcl2
import kubernetes_validate
import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster_k8s.job import UserDefinedDagsterK8sConfig

DEPLOY = Path(__file__).parents[1] / "deploy"
MODULE = sorted((DEPLOY / "gcp").glob("*.tf"))
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "k8s" / "manifests.yaml").read_text()))
VALUES = yaml.safe_load((DEPLOY / "k8s" / "values.yaml").read_text())
KUBERNETES = "1.31"


_OF_THE_PARSER = {"__is_block__", "__comments__", "__inline_comments__"}


def unquoted(value: Any) -> Any:
    if isinstance(value, dict):
        return {unquoted(key): unquoted(each) for key, each in value.items() if key not in _OF_THE_PARSER}
    if isinstance(value, list):
        return [unquoted(each) for each in value]
    return value.strip('"') if isinstance(value, str) else value


@cache
def parsed() -> Sequence[dict[str, Any]]:
    """The module's files, when a test asks: to parse them takes seconds."""
    return [unquoted(hcl2.loads(file.read_text())) for file in MODULE]


def blocks(kind: str) -> Iterator[dict[str, Any]]:
    for file in parsed():
        yield from file.get(kind, ())


def resources() -> dict[tuple[str, str], Any]:
    named = [each for block in blocks("resource") for each in block.items()]
    return {(kind, name): body for kind, bodies in named for name, body in bodies.items()}


def local_values() -> dict[str, Any]:
    return {name: value for block in blocks("locals") for name, value in block.items()}


def variables() -> dict[str, Any]:
    return {name: body for block in blocks("variable") for name, body in block.items()}


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def test_every_reference_of_the_module_has_what_it_names() -> None:
    text = "\n".join(file.read_text() for file in MODULE)
    assert set(re.findall(r"\bvar\.(\w+)", text)) == set(variables())
    assert set(re.findall(r"\blocal\.(\w+)", text)) == set(local_values())
    assert all(body["description"] for body in variables().values())
    named = set(re.findall(r"\b((?:google|random)_\w+)\.(\w+)", re.sub(r'"[\w./:-]*"', '""', text)))
    assert named
    data = {(kind, name) for block in blocks("data") for kind, named_ in block.items() for name in named_}
    assert named <= {*resources(), *data}


def test_no_account_has_a_key_or_more_than_its_part() -> None:
    kinds = {kind for kind, _ in resources()}
    assert not kinds & {"google_service_account_key", "google_project_iam_binding", "google_project_iam_policy"}
    roles = {
        role
        for text in texts({"l": local_values(), "r": [*resources().values()]})
        for role in re.findall(r"roles/[\w.]+", text)
    }
    assert not [
        role for role in roles if re.search(r"(owner|editor|[aA]dmin)$", role) and role != "roles/bigquery.dataEditor"
    ]
    # On the project as a whole: to run queries, and what nodes are.
    of_project = {
        role
        for (kind, _), body in resources().items()
        if kind == "google_project_iam_member"
        for role in re.findall(r"roles/[\w.]+", body["role"] + str(local_values()["query_rights"]))
    }
    assert of_project == {
        *("roles/bigquery.jobUser", "roles/bigquery.readSessionUser", "roles/container.defaultNodeServiceAccount"),
    }
    rights = local_values()["bucket_rights"]
    assert rights["runner_uploads"]["role"] == "roles/storage.objectViewer"
    assert {right["account"] for right in rights.values() if right["bucket"] == "models"} == {"mlflow"}
    assert local_values()["dataset_rights"]["runner"] == "roles/bigquery.dataEditor"


def test_what_is_kept_is_private_and_has_an_end() -> None:
    bucket = resources()["google_storage_bucket", "kept"]
    assert (bucket["public_access_prevention"], bucket["uniform_bucket_level_access"]) == ("enforced", True)
    assert len(bucket["lifecycle_rule"]) == 2
    assert bucket["dynamic"]
    database = resources()["google_sql_database_instance", "main"]["settings"][0]
    assert database["ip_configuration"][0]["ipv4_enabled"] is False
    assert database["ip_configuration"][0]["ssl_mode"] == "ENCRYPTED_ONLY"
    assert database["backup_configuration"][0]["enabled"] is True
    assert resources()["google_container_cluster", "main"]["private_cluster_config"][0]["enable_private_nodes"] is True
    assert resources()["google_artifact_registry_repository", "images"]["docker_config"][0]["immutable_tags"] is True


def test_no_secret_stands_in_a_file() -> None:
    for file in (*MODULE, *(DEPLOY / "k8s").iterdir(), DEPLOY / "dagster.yaml"):
        for line in file.read_text().splitlines():
            assert not re.search(r'(password|secret|token)\w*"?\s*[:=]\s*"?[A-Za-z0-9+/]{16,}', line, re.I), (
                file,
                line,
            )
    assert not [each for each in MANIFESTS if each["kind"] == "Secret"]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: f"{each['kind']} {each['metadata']['name']}")
def test_a_manifest_is_of_its_kind(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_a_wrong_manifest_would_be_found() -> None:
    wrong = {**MANIFESTS[0], "metadata": {"nmae": "x"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_the_cluster_s_accounts_are_those_that_the_module_binds() -> None:
    accounts = {each["metadata"]["name"] for each in MANIFESTS if each["kind"] == "ServiceAccount"}
    assert accounts == {f"stockcast-{name}" for name in local_values()["accounts"]}
    assert variables()["namespace"]["default"] == MANIFESTS[0]["metadata"]["name"]
    assert VALUES["global"]["serviceAccountName"] in accounts
    launcher = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    assert launcher["runK8sConfig"]["podSpecConfig"]["service_account_name"] in accounts


def test_the_launcher_of_runs_takes_its_configuration() -> None:
    written = VALUES["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    words = {re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", key): value for key, value in written.items()}
    config = UserDefinedDagsterK8sConfig.from_dict(words)
    assert config.pod_spec_config["service_account_name"] == "stockcast-runner"
    assert config.job_spec_config["backoff_limit"] == 0
    with pytest.raises(Exception, match="no_such"):
        UserDefinedDagsterK8sConfig.from_dict({"job_spec_config": {"no_such": 1}})


def test_pods_are_nobody_and_images_have_a_version() -> None:
    pods = [VALUES["dagsterWebserver"], VALUES["dagsterDaemon"], *VALUES["dagster-user-deployments"]["deployments"]]
    pods.append(next(each for each in MANIFESTS if each["kind"] == "Deployment")["spec"]["template"]["spec"])
    for pod in pods:
        security = pod.get("podSecurityContext") or pod["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 10001)
    images = re.findall(
        r"^\s*(?:tag|image): \"(.*)\"$", "".join(f.read_text() for f in (DEPLOY / "k8s").iterdir()), re.M
    )
    assert images
    assert all(image.endswith("<VERSION>") for image in images)


def test_settings_of_the_cluster_are_settings() -> None:
    from stockcast_assets.settings import Settings

    known = {f"STOCKCAST_{name.upper()}" for name in Settings.model_fields}
    config = next(each for each in MANIFESTS if each["kind"] == "ConfigMap")["data"]
    outputs = next(block["environment"] for block in blocks("output") if "environment" in block)["value"]
    for name in (*config, *(name for name in outputs if not name.startswith("DAGSTER"))):
        if name.startswith("STOCKCAST"):
            assert name in known


def test_compose_s_instance_is_that_of_the_workers_with_one_writer_and_one_worker_s_runs() -> None:
    files = DEPLOY / "celery" / "one-machine.yaml", DEPLOY / "celery" / "dagster.yaml"
    one, many = (yaml.safe_load(file.read_text()) for file in files)
    assert one["concurrency"].pop("pools") == {"granularity": "run", "default_limit": 1}
    at_once = one["concurrency"].pop("runs")["max_concurrent_runs"]
    many.pop("concurrency")
    assert one.pop("concurrency") == {}
    assert one == many
    worker = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["worker"]["command"]
    assert worker == ["stockcast", "worker", "--runs", str(at_once)]


@pytest.mark.parametrize("name", ["celery", "cloudrun"])
def test_an_instance_file_differs_from_the_plain_one_where_runs_are_launched(name: str) -> None:
    files = DEPLOY / "dagster.yaml", DEPLOY / name / "dagster.yaml"
    plain, other = (yaml.safe_load(file.read_text()) for file in files)
    launcher = other.pop("run_launcher")
    plain.pop("run_launcher")
    # Several may write one table there: two statements run and twenty wait.
    writers = other["concurrency"]["pools"].pop("default_limit")
    assert (plain["concurrency"]["pools"].pop("default_limit"), 1 < writers <= 22) == (1, True)
    assert other == plain
    # The launcher takes its configuration: Dagster's own check of a dagster.yaml.
    kind = getattr(import_module(launcher["module"]), launcher["class"])
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("DAGSTER_CELERY_BROKER", "STOCKCAST_GCP_PROJECT", "DAGSTER_CLOUD_RUN_REGION"):
            patch.setenv(variable, f"redis://{variable}")
        checked = process_config(resolve_to_config_type(kind.config_type()), launcher["config"])
        assert checked.success, checked.errors
        wrong = process_config(resolve_to_config_type(kind.config_type()), {**launcher["config"], "no_such": 1})
        assert not wrong.success
    if name == "celery":
        app = kind(**checked.value).celery
        assert (app.conf.task_acks_late, app.conf.task_reject_on_worker_lost) == (True, True)
        assert app.conf.worker_prefetch_multiplier == 1
        longest = other["run_monitoring"]["max_runtime_seconds"]
        assert app.conf.broker_transport_options["visibility_timeout"] > longest
