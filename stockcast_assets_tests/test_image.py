"""What the image is built from: nothing that the package needs may be left out of it."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_image_copies_all_that_the_package_is_built_from():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], project["project"]["readme"], "LICENSE"}
    copies = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    copied = {source for sources in copies for source in sources.split()}
    assert needed <= copied
    assert [source for source in sorted(copied) if not (ROOT / source).exists()] == []


def test_no_layer_of_the_image_holds_a_secret():
    dockerfile = (ROOT / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {"**/.env", "**/.env.*", "**/*.pem", "**/*.key", ".stockcast", ".git"} <= set(ignored)
    # A build argument and the environment of a build stay in the image's history.
    assert re.findall(r"^ARG .*|.*(?:PASSWORD|TOKEN|CREDENTIALS|SECRET|_URI|ALERTS)=.*", dockerfile, re.MULTILINE) == []
    copies = re.findall(r"^(?:COPY|ADD) (.+) \S+$", dockerfile, re.MULTILINE)
    assert not {".", "./", "*"} & {source for sources in copies for source in sources.split()}
