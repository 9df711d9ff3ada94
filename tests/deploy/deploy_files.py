"""The files under deploy/ as tests read them."""

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
DOCKER: Final = DEPLOY / "docker"


@cache
def read_yaml(file: Path) -> Any:
    """The one document of a file of YAML, for reading only: the next who asks gets the same."""
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def assignments(file: Path) -> dict[str, str]:
    """The variables of a file of `NAME=value` lines."""
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """A Dockerfile's instructions with their words, continued lines joined, comments left out."""
    found: list[tuple[str, str]] = []
    pending = ""
    for line in dockerfile.read_text(encoding="utf-8").splitlines():
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        pending += line.strip()
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        word, _, rest = pending.partition(" ")
        found.append((word, " ".join(rest.split())))
        pending = ""
    return found


def services(compose: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The services of a Compose file, by name."""
    yield from read_yaml(compose)["services"].items()


def program(name: str, package: str) -> str:
    """The path of a program of Debian's; where it is missing the test is skipped, and says which package has it."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"needs {name}: apt-get install {package}")
    return found
