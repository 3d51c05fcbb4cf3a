"""The search of the history finds what a later commit took away."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / ".ci" / "secrets_in_history.py"


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


def search(folder: Path) -> subprocess.CompletedProcess[str]:
    # The script searches the repository that it is part of.
    return subprocess.run(
        [sys.executable, folder / ".ci" / SCRIPT.name], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_secret_of_an_earlier_commit_is_found_and_not_printed_whole(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / SCRIPT.name).write_text(SCRIPT.read_text())
    git(tmp_path, "init", "--quiet")
    settings = tmp_path / "settings"
    planted = "https://anna:" + "xK9-tulip-forty" + "@mlflow.example.com"
    for text, found in (("https://mlflow.example.com", False), (planted, True), ("https://mlflow.example.com", True)):
        settings.write_text(f"{'STOCKCAST_MLFLOW_URI':>50}={text}\n")
        git(tmp_path, "add", "--all")
        git(tmp_path, "commit", "--quiet", "--message", "x")
        searched = search(tmp_path)
        assert searched.returncode == int(found), searched.stderr
        assert ("Basic Auth" in searched.stdout) == found
        assert "tulip-forty" not in searched.stdout
