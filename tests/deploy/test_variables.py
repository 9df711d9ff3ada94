"""Every variable that a file under deploy/ sets is one that the product reads."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from deploy_files import DEPLOY, DOCKER, assignments, read_yaml, services

from offerhub.settings.catalogue import describe

KNOWN = {name for one in describe() for name in (one.name, *one.aliases)} | {
    f"{one.name}_FILE" for one in describe() if one.secret
}
OF_COMPOSE = {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "GRAFANA_PASSWORD"}
"""Of the servers that production.env is for as well."""


OF_BACKUPS = {"BACKUP_FOLDER", "BACKUP_INTERVAL_SECONDS", "BACKUP_KEEP_DAYS", "PATH"}
"""Of deploy/docker/backup.sh."""


def compose() -> Iterator[tuple[Path, set[str]]]:
    for file in sorted(DOCKER.glob("docker-compose*.yml")):
        ours = [one for _, one in services(file) if "build" in one or "image" not in one]
        yield file, {name for one in ours for name in one.get("environment", {})}
    yield DOCKER / "production.env.example", set(assignments(DOCKER / "production.env.example")) - OF_COMPOSE


def helm() -> Iterator[tuple[Path, set[str]]]:
    values = DEPLOY / "helm" / "offerhub" / "values.yaml"
    yield values, set(read_yaml(values)["config"])


def platforms() -> Iterator[tuple[Path, set[str]]]:
    fly = DEPLOY / "fly" / "fly.toml"
    yield fly, set(tomllib.loads(fly.read_text(encoding="utf-8"))["env"])
    render = DEPLOY / "render" / "render.yaml"
    found = read_yaml(render)
    lists = [one.get("envVars", ()) for one in (*found["services"], *found["envVarGroups"])]
    yield render, {one["key"] for variables in lists for one in variables if "key" in one}
    example = DEPLOY / "systemd" / "offerhub.env.example"
    yield example, set(assignments(example))
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        lines = re.findall(r"^Environment=(.+)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
        if lines:
            yield unit, {word.partition("=")[0] for line in lines for word in line.split()}


OF_CLOUDS = {
    "ENCRYPTED_ONLY", "HTTP_301", "INGRESS_TRAFFIC_ALL", "INGRESS_TRAFFIC_INTERNAL_ONLY", "PD_SSD", "POSTGRES_17",
    "PRIVATE_RANGES_ONLY", "PRIVATE_SERVICE_ACCESS", "REDIS_7_2", "STANDARD_HA",
}  # fmt: skip
"""Their own words in capitals."""


def terraform() -> Iterator[tuple[Path, set[str]]]:
    for folder in sorted((DEPLOY / "terraform").iterdir()):
        text = "\n".join(file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.tf")))
        yield folder, set(re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", text)) - OF_CLOUDS


def test_every_variable_is_one_that_the_product_reads() -> None:
    for file, names in (*compose(), *helm(), *platforms(), *terraform()):
        assert names, f"{file.relative_to(DEPLOY)} names none"
        assert names - KNOWN - OF_BACKUPS == set(), file.relative_to(DEPLOY)
