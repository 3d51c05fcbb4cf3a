"""What may be installed: no version with a hole that is known to us, nothing whose content is not the locked one."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
LOCK = (REPOSITORY / "requirements.lock").read_text()

HOLES = {
    "aiosmtpd": ("1.4.6", "CVE-2024-34083: commands smuggled in before STARTTLS"),
    "apprise": ("0.9.5.1", "CVE-2021-39229: exponential pattern"),
    "cryptography": ("46.0.5", "CVE-2026-26007: small-subgroup points accepted"),
    "curl-cffi": ("0.15.0", "CVE-2026-33752: redirects into the internal network"),
    "dagster": ("1.13.1", "CVE-2026-41490: SQL from partition keys"),
    "dagster-gcp": ("0.29.1", "CVE-2026-41490: SQL from partition keys"),
    "duckdb": ("1.1.0", "CVE-2024-41672: files read past enable_external_access"),
    "filelock": ("3.20.3", "CVE-2026-22701, CVE-2025-68146: links followed between check and use"),
    "keras": ("3.15.1", "CVE-2026-1462 and what followed it: code and files reached from a model file"),
    "mlflow": ("3.11.1", "CVE-2026-33865, CVE-2026-4137, CVE-2026-2651 and 2652: the server's artifacts and access"),
    "plotly": ("5.16", "CVE-2023-46308: prototype pollution in the bundled plotly.js"),
    "psutil": ("5.6.7", "CVE-2019-18874: double free"),
    "pyarrow": ("23.0.1", "CVE-2026-25087, CVE-2023-47248: memory used after free, code from a file"),
    "pytest": ("9.0.3", "CVE-2025-71176: guessable names in the temporary folder"),
    "scipy": ("1.10", "CVE-2023-25399: memory lost"),
    "streamlit": ("1.54.0", "CVE-2026-33682: requests to others from a path"),
    "tensorflow-cpu": ("2.12.1", "CVE-2023-33976: a crash from sizes"),
}
"""First version without the hole, and the advisory."""


def declared() -> dict[str, Requirement]:
    groups = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    requirements = [Requirement(text) for group in [*groups, PROJECT["dependency-groups"]["dev"]] for text in group]
    return {canonicalize_name(each.name): each for each in requirements}


def locked() -> dict[str, Version]:
    return {
        canonicalize_name(name): Version(version) for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", LOCK, re.M)
    }


@pytest.mark.parametrize("name", HOLES)
def test_no_version_with_a_known_hole_may_be_installed(name: str) -> None:
    fixed = Version(HOLES[name][0])
    specifier: SpecifierSet = declared()[name].specifier
    lower = [Version(each.version) for each in specifier if each.operator in (">=", "==", "~=")]
    assert lower, f"{name} has no lower bound: {HOLES[name]}"
    assert max(lower) >= fixed, HOLES[name]
    assert locked()[name] >= fixed, HOLES[name]


def test_every_entry_of_the_lock_has_its_hashes() -> None:
    entries = re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.M)[1:]
    assert len(entries) > 200
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.splitlines()[0]


@pytest.mark.parametrize("file", ["Makefile", "Dockerfile"])
def test_whatever_installs_the_lock_insists_on_the_hashes(file: str) -> None:
    installing = [line for line in (REPOSITORY / file).read_text().splitlines() if "requirements" in line]
    installing = [line for line in installing if re.search(r" (sync|install) .*\.lock", line)]
    assert installing
    assert all("--require-hashes" in line for line in installing), installing


def test_another_content_than_the_locked_one_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "harmless-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("harmless.py", "")
        file.writestr("harmless-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: harmless\nVersion: 1.0\n")
        file.writestr("harmless-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr("harmless-1.0.dist-info/RECORD", "")
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"harmless==1.0 --hash=sha256:{'0' * 64}\n")
    command = ["uv", "pip", "install", "--require-hashes", "--no-index", "--find-links", str(tmp_path)]
    tried = subprocess.run(
        [Path(sys.executable).with_name(command[0]), *command[1:], "--target", tmp_path / "target", "-r", lock],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tried.returncode != 0
    assert "Hash mismatch" in tried.stderr
    assert not (tmp_path / "target" / "harmless.py").exists()


RUNTIME = (REPOSITORY / "requirements-runtime.lock").read_text()
TOOLS = {"bqemulator", "hypothesis", "mkdocs", "mypy", "playwright", "pytest", "ruff", "uv"}


def entries(lock: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Version and hashes of every package of a lock file."""
    found = re.split(r"^(?=[\w.-]+==)", lock, flags=re.M)[1:]
    return {
        canonicalize_name(text.split("==")[0]): (
            re.split(r"[\s;]", text.split("==")[1])[0],
            frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", text)),
        )
        for text in found
    }


def test_the_image_installs_a_part_of_what_is_tested() -> None:
    """Another version, or a file that the full lock does not name, would reach the image untested."""
    runtime, full = entries(RUNTIME), entries(LOCK)
    assert runtime.items() <= full.items()
    assert all(hashes for _, hashes in runtime.values())


SERVICES = (REPOSITORY / "requirements-services.lock").read_text()


def test_the_services_install_what_the_worker_installs_without_tensorflow() -> None:
    services, runtime = entries(SERVICES), entries(RUNTIME)
    assert services.items() <= runtime.items()
    left_out = runtime.keys() - services.keys()
    assert {"keras", "tensorflow-cpu", "h5py"} <= left_out
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["deploy"]]
    declared_ = {canonicalize_name(Requirement(text).name) for text in wanted}
    assert declared_ & left_out == {"keras", "tensorflow-cpu"}


def test_the_image_installs_what_the_platform_needs_and_no_tool_of_development() -> None:
    runtime = set(entries(RUNTIME))
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["deploy"]]
    assert {canonicalize_name(Requirement(text).name) for text in wanted} <= runtime
    assert not runtime & TOOLS
    assert set(entries(LOCK)) >= TOOLS
