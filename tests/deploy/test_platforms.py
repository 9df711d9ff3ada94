"""Railway, Render, Fly and systemd: fields that they document, commands and addresses that the product has."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from deploy_files import DEPLOY, ROOT, program, read_yaml

from offerhub.cli.main import app
from offerhub.settings.catalogue import SHUTDOWN_SECONDS
from write_reference import declared_routes

RAILWAY = sorted((DEPLOY / "railway").glob("*.toml"))
RENDER = DEPLOY / "render" / "render.yaml"
FLY = DEPLOY / "fly" / "fly.toml"
SYSTEMD = DEPLOY / "systemd"
UNITS = sorted((*SYSTEMD.glob("*.service"), *SYSTEMD.glob("*.timer")))
STOP_SECONDS = SHUTDOWN_SECONDS.default + 10
"""What a process needs at most before it has ended by itself."""

RAILWAY_FIELDS = {
    "build": {"builder", "dockerfilePath", "watchPatterns"},
    "deploy": {
        "preDeployCommand", "startCommand", "healthcheckPath", "healthcheckTimeout", "restartPolicyType",
        "restartPolicyMaxRetries", "overlapSeconds", "drainingSeconds",
    },
}  # fmt: skip
RENDER_FIELDS = {
    "type", "name", "runtime", "plan", "region", "dockerfilePath", "dockerContext", "dockerCommand",
    "preDeployCommand", "healthCheckPath", "maxShutdownDelaySeconds", "numInstances", "envVars",
    "maxmemoryPolicy", "ipAllowList",
}  # fmt: skip
PATHS = {f"/api/v1{route.path}" for route in declared_routes() if route.scope == "public"} | {"/health", "/metrics"}


def known_command(words: list[str]) -> bool:
    """True for the words after `offerhub` of a command with options that it has."""
    found: Any = app
    for word in words:
        if word.startswith("--"):
            return words == ["serve", "--no-jobs"]
        if word not in set(found):
            return False
        found = found[word]
    return bool(words)


def known_line(line: str) -> bool:
    """The same for a whole line."""
    program_, *words = line.split()
    return Path(program_).name == "offerhub" and known_command(words)


@pytest.mark.parametrize("file", RAILWAY, ids=lambda file: file.stem)
def test_railway(file: Path) -> None:
    found = tomllib.loads(file.read_text(encoding="utf-8"))
    for section, fields in found.items():
        assert fields.keys() <= RAILWAY_FIELDS[section]
    assert (ROOT / found["build"]["dockerfilePath"]).exists()
    deploy = found["deploy"]
    assert all(known_line(line) for line in (deploy["startCommand"], *deploy.get("preDeployCommand", ())))
    assert deploy["drainingSeconds"] >= STOP_SECONDS
    assert deploy.get("healthcheckPath", "/health") in PATHS


def test_render() -> None:
    found = read_yaml(RENDER)
    assert found.keys() == {"services", "databases", "envVarGroups"}
    named = {one["name"] for one in (*found["services"], *found["databases"], *found["envVarGroups"])}
    for service in found["services"]:
        assert service.keys() <= RENDER_FIELDS
        for variable in service.get("envVars", ()):
            sources = variable.keys() - {"key"}
            assert len(sources) == 1, variable
            for source in ("fromDatabase", "fromService"):
                assert variable.get(source, {"name": "offerhub-db"})["name"] in named
            assert variable.get("fromGroup", "offerhub") in named
        if service["type"] == "keyvalue":
            assert service["maxmemoryPolicy"] == "noeviction"
            continue
        assert (ROOT / service["dockerfilePath"]).exists()
        assert known_line(service["dockerCommand"])
        assert known_line(service.get("preDeployCommand", "offerhub migrate up"))
        assert service.get("healthCheckPath", "/health") in PATHS
        assert service["maxShutdownDelaySeconds"] >= STOP_SECONDS
    assert int(found["databases"][0]["postgresMajorVersion"]) >= 15


def test_fly() -> None:
    found = tomllib.loads(FLY.read_text(encoding="utf-8"))
    assert (FLY.parent / found["build"]["dockerfile"]).resolve().exists()
    assert known_command(found["deploy"]["release_command"].split())
    assert all(known_command(line.split()) for line in found["processes"].values())
    assert found["http_service"]["processes"] == ["api"]
    assert str(found["http_service"]["internal_port"]) == found["env"]["PORT"]
    assert str(found["metrics"]["port"]) == found["env"]["METRICS_PORT"]
    assert found["http_service"]["auto_stop_machines"] == "off", "deposits come without requests"
    assert int(found["kill_timeout"].removesuffix("s")) >= STOP_SECONDS
    checks = [*found["http_service"]["checks"], found["checks"]["worker"], found["metrics"]]
    assert {one["path"] for one in checks} <= PATHS


def test_units_run_what_there_is_and_wait_long_enough() -> None:
    for unit in SYSTEMD.glob("*.service"):
        text = unit.read_text(encoding="utf-8")
        (line,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
        if unit.name == "offerhub-backup.service":
            assert (ROOT / line.split()[1].removeprefix("/opt/offerhub/")).exists()
            continue
        assert known_line(line)
        if "@" in unit.name:
            (stop,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
            assert int(stop) >= STOP_SECONDS
        assert "NoNewPrivileges=yes" in text
        assert "User=offerhub" in text


def test_commands_beside_systemd_read_its_file_as_it_does(tmp_path: Path) -> None:
    """Step 6 of the page, with a URL that a shell would take apart."""
    page = (ROOT / "docs" / "operating" / "deploy" / "systemd.md").read_text(encoding="utf-8")
    (step,) = re.findall(r"^ *(ln -s offerhub\.env .*\n.*offerhub doctor)$", page, re.MULTILINE)
    url = "postgresql://u:pa$w@db.example/offerhub?sslmode=verify-full&sslrootcert=/etc/ssl/ca.pem"
    example = (DEPLOY / "systemd" / "offerhub.env.example").read_text(encoding="utf-8")
    given = {
        "DATABASE_URL": url,
        "REDIS_URL": "rediss://:p@redis.example:6379",
        "OFFERHUB_MASTER_KEY": "VdYI/gmPuYVDXnMt7FOdtgiLKSHJ+W9fGCh0/FrdaTY=",
        "TRUSTLESS_API_KEY": "trustless.key",
        "TRUSTLESS_WEBHOOK_SECRET": "tw_whsec_something",
    }
    for name, value in given.items():
        example = example.replace(f"\n{name}=\n", f"\n{name}={value}\n")
    (tmp_path / "offerhub.env").write_text(example, encoding="utf-8")
    (tmp_path / "offerhub.env").chmod(0o600)
    command = step.replace("/etc/offerhub", str(tmp_path)).replace("doctor", "config check --json")
    command = command.replace("/opt/offerhub/.venv/bin", str(Path(sys.executable).parent))
    told = subprocess.run(
        ["/bin/bash", "-euc", command], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}
    )
    checks = {one["check"]: one for one in json.loads(told.stdout)["checks"]}
    assert checks["configuration"]["state"] == "ok", told.stdout
    assert any("sslmode=verify-full" in one["found"] for one in json.loads(told.stdout)["checks"])


@pytest.mark.long
def test_systemd_takes_the_units_and_calls_them_confined(tmp_path: Path) -> None:
    """As it would load them, with this environment's program in the place of the installed one."""
    analyze = program("systemd-analyze", "systemd")
    here = Path(sys.executable).parent
    names = []
    for unit in UNITS:
        name = unit.name.replace("@.", "@4000.")
        text = unit.read_text(encoding="utf-8").replace("/opt/offerhub/.venv/bin", str(here))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
        if name != unit.name:
            (tmp_path / name).symlink_to(unit.name)
        names.append(name)
    environ = {"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"}
    for name in names:
        words = [analyze, "verify", "--man=no", "--recursive-errors=no", f"./{name}"]
        told = subprocess.run(words, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (told.returncode, told.stderr) == (0, ""), name
    for name in ("offerhub-api@4000.service", "offerhub-worker@4000.service"):
        words = [analyze, "security", "--offline=true", "--threshold=20", f"./{name}"]
        told = subprocess.run(words, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout


@pytest.mark.long
def test_nginx_takes_the_site(tmp_path: Path) -> None:
    nginx, openssl = program("nginx", "nginx-light"), program("openssl", "openssl")
    for name in ("fullchain.pem", "privkey.pem"):
        (tmp_path / name).touch()
    make = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    make += ["-out", str(tmp_path / "fullchain.pem"), "-keyout", str(tmp_path / "privkey.pem")]
    subprocess.run(make, capture_output=True, check=True)
    site = (SYSTEMD / "nginx-site.conf").read_text(encoding="utf-8")
    site = site.replace("/etc/letsencrypt/live/payments.example.com", str(tmp_path))
    file = tmp_path / "nginx.conf"
    file.write_text(f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n{site}\n}}\n", encoding="utf-8")
    told = subprocess.run([nginx, "-t", "-q", "-c", file], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")


def test_both_nginx_files_have_the_same_rules() -> None:
    def locations(file: Path) -> dict[str, set[str]]:
        text = file.read_text(encoding="utf-8")
        found = re.findall(r"location ([^{]+) \{([^}]*)\}", text)
        return {
            name: {" ".join(line.split()) for line in body.splitlines() if line.strip() and "zone=" not in line}
            for name, body in found
        }

    assert locations(SYSTEMD / "nginx-site.conf") == locations(DEPLOY / "docker" / "nginx.conf")
