"""Every variable that a file under deploy/ sets is one that the product reads."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from deploy_files import DEPLOY, DOCKER, assignments, read_yaml, services

from offerhub.settings import load
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


SECRETS = {
    "DATABASE_URL": "postgresql://offerhub:secret@db.internal:5432/offerhub?sslmode=require",
    "REDIS_URL": "rediss://:secret@redis.internal:6379",
    "OFFERHUB_MASTER_KEY": "q2V8yTj4mB0sKx7dLwPz5hNf1RgUaE9c",
    "TRUSTLESS_API_KEY": "tw-key-of-this-test",
    "TRUSTLESS_WEBHOOK_SECRET": "tw-webhook-secret-of-this-test",
}
AIRTM = {
    "AIRTM_ENV": "prod",
    "AIRTM_API_KEY": "airtm-key-of-this-test",
    "AIRTM_API_SECRET": "airtm-secret-of-this-test",
    "AIRTM_WEBHOOK_SECRET": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oE",
}


def filled() -> Iterator[tuple[str, dict[str, str]]]:
    """What each set-up gives a process, once its owner has filled in what is theirs."""
    found = dict(services(DOCKER / "docker-compose.prod.yml"))
    example = assignments(DOCKER / "production.env.example")
    for name in ("api", "worker", "migrate"):
        ours = {key: value for key, value in found[name]["environment"].items() if key not in SECRETS}
        yield f"compose: {name}", example | ours
    yield "systemd", assignments(DEPLOY / "systemd" / "offerhub.env.example")
    yield "helm", read_yaml(DEPLOY / "helm" / "offerhub" / "values.yaml")["config"]
    yield "fly", tomllib.loads((DEPLOY / "fly" / "fly.toml").read_text(encoding="utf-8"))["env"]
    render = read_yaml(DEPLOY / "render" / "render.yaml")
    lists = [one.get("envVars", ()) for one in (*render["services"], *render["envVarGroups"])]
    yield "render", {one["key"]: one["value"] for variables in lists for one in variables if "value" in one}
    for folder in sorted((DEPLOY / "terraform").iterdir()):
        text = "\n".join(file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.tf")))
        block = re.search(r"environment = merge\(\{\n(.*?)\n  \}", text, re.DOTALL)
        assert block is not None, folder.name
        yield folder.name, dict(re.findall(r'^\s*([A-Z_]+)\s*= "(.*)"$', block[1], re.MULTILINE))


def test_a_process_starts_with_what_each_set_up_gives_it() -> None:
    seen = set()
    for where, variables in filled():
        mine = {"PUBLIC_BASE_URL": "https://payments.example.com"}
        for rail in ({}, AIRTM):
            settings = load(variables | mine | SECRETS | rail)
            assert settings.is_production, where
            assert settings.server.host == "0.0.0.0", where  # noqa: S104 - in a container
            assert settings.stellar.network == "mainnet", where
            assert (settings.payments.rail == "airtm") == bool(rail), where
        seen.add(where)
    assert len(seen) == 10
