"""Every variable that a file under deploy/ sets is one that the product reads, and a value that it takes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy_files import DEPLOY, DOCKER, assignments, read_yaml, services

from offerhub.settings.catalogue import describe

KNOWN = {name for one in describe() for name in (one.name, *one.aliases)} | {
    f"{one.name}_FILE" for one in describe() if one.secret
}
OF_COMPOSE = {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "GRAFANA_PASSWORD"}
"""Of the servers that production.env is for as well."""


def compose() -> Iterator[tuple[Path, set[str]]]:
    for file in sorted(DOCKER.glob("docker-compose*.yml")):
        ours = [one for _, one in services(file) if "build" in one or "image" not in one]
        yield file, {name for one in ours for name in one.get("environment", {})}
    yield DOCKER / "production.env.example", set(assignments(DOCKER / "production.env.example")) - OF_COMPOSE


def helm() -> Iterator[tuple[Path, set[str]]]:
    values = DEPLOY / "helm" / "offerhub" / "values.yaml"
    yield values, set(read_yaml(values)["config"])


@pytest.mark.parametrize(("file", "names"), [*compose(), *helm()], ids=lambda value: getattr(value, "name", ""))
def test_every_variable_is_one_that_the_product_reads(file: Path, names: set[str]) -> None:
    assert names, f"{file.relative_to(DEPLOY)} names none"
    assert names - KNOWN == set()
