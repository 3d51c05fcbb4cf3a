"""The workflow of GitHub Actions: its shape, that it runs what we run, and that nothing untested is published."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
JOB = {"runs-on", "timeout-minutes", "steps", "needs", "if", "permissions", "environment", "env", "strategy"}
STEP = {"name", "id", "uses", "run", "with", "env", "if"}
PUBLISHES = ("docker/login-action", "pypa/gh-action-pypi-publish")


def loaded(file: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(file.read_text())
    # YAML 1.1 reads the key `on` as true.
    found["on"] = found.pop(True)
    return found


CI = loaded(ROOT / ".github" / "workflows" / "ci.yml")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_shape_is_that_of_a_workflow(file: Path) -> None:
    workflow = loaded(file)
    assert set(workflow) <= {"name", "on", "permissions", "concurrency", "env", "jobs", "defaults"}
    assert set(workflow["on"]) <= {"push", "pull_request", "schedule", "workflow_dispatch"}
    for name, job in workflow["jobs"].items():
        assert set(job) <= JOB, name
        assert job["timeout-minutes"] <= 60, name
        needs = job.get("needs", [])
        assert {needs} if isinstance(needs, str) else set(needs) <= set(workflow["jobs"]), name
        for step in job["steps"]:
            assert set(step) <= STEP, step
            assert ("uses" in step) != ("run" in step), step
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@[\w./-]+", step.get("uses", "a/b@v1")), step
    identifiers = {step["id"] for job in workflow["jobs"].values() for step in job["steps"] if "id" in step}
    assert set(re.findall(r"steps\.(\w+)\.outputs", file.read_text())) <= identifiers


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_its_scripts_are_shell_and_interpolate_nothing(file: Path) -> None:
    """What GitHub puts into a script by ${{ … }} is code: a branch's name could be a command."""
    for job in loaded(file)["jobs"].values():
        for script in (step["run"] for step in job["steps"] if "run" in step):
            assert "${{" not in script
            subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_every_target_and_file_that_it_runs_is_there() -> None:
    scripts = "\n".join(step.get("run", "") for job in CI["jobs"].values() for step in job["steps"])
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z0-9-]+)", scripts)) <= set(targets)
    assert ".ci/run" in scripts.split()
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100


def test_only_a_tag_publishes_and_only_what_was_tested() -> None:
    for name, job in CI["jobs"].items():
        publishes = any(step.get("uses", "").startswith(PUBLISHES) for step in job["steps"])
        assert publishes == (name == "publish")
        assert publishes or "write" not in str(job.get("permissions", ""))
    publish = CI["jobs"]["publish"]
    assert publish["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert set(publish["needs"]) == set(CI["jobs"]) - {"publish"}
    assert CI["permissions"] == {"contents": "read"}


def test_the_images_are_bounded_as_the_long_test_bounds_them_and_searched_for_holes() -> None:
    (limits,) = re.findall(r"^LIMITS = \{(.*)\}$", (ROOT / "long_tests" / "test_image.py").read_text(), re.MULTILINE)
    steps = CI["jobs"]["image"]["steps"]
    for image, limit in re.findall(r"(\w+): ([\d_]+)", limits):
        assert any(f'"${image.lower()}" -le {int(limit)}' in step.get("run", "") for step in steps)
    assert any("trivy" in step.get("uses", "") and step["with"]["exit-code"] == "1" for step in steps)


def test_the_version_that_a_tag_is_compared_with_stands_as_it_is_searched() -> None:
    script = next(
        step["run"] for step in CI["jobs"]["publish"]["steps"] if step.get("name") == "The tag is the version"
    )
    version = re.findall(r'__version__ = "(.+)"', (ROOT / "stockcast_assets" / "__init__.py").read_text())[0]
    for tag, status in ((f"v{version}", 0), ("v9.9.9", 1)):
        done = subprocess.run(["bash", "-c", script], cwd=ROOT, env={"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"})
        assert done.returncode == status


def test_the_long_tests_still_find_what_they_are_set_up_with() -> None:
    planned = subprocess.run(
        [sys.executable, "-m", "pytest", "long_tests", "--setup-plan", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert "test_moved.py" in planned.stdout
