"""The image, the two Compose files and what they mount: held to what the product needs, without a Docker daemon."""

import http.server
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from deploy_files import DOCKER, ROOT, assignments, instructions, program, services

from offerhub.cli.main import app
from offerhub.runtime.embedded.place import postgres_bin

COMPOSE_FILES = (DOCKER / "docker-compose.yml", DOCKER / "docker-compose.prod.yml")
PRODUCTION = DOCKER / "docker-compose.prod.yml"
IMAGE = instructions(DOCKER / "Dockerfile")


def test_the_image_runs_as_nobody_in_particular_and_is_asked_for_its_health() -> None:
    words = dict(IMAGE)  # the last of each kind counts
    assert IMAGE[-1] == ("FROM", "service"), "what is built by default"
    user, _, group = words["USER"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert "healthcheck.py" in words["HEALTHCHECK"]
    assert words["ENTRYPOINT"] == '["offerhub"]'
    assert words["STOPSIGNAL"] == "SIGTERM"


def test_the_image_is_made_of_what_is_pinned() -> None:
    bases = [rest for word, rest in IMAGE if word == "ARG" and rest.startswith("PYTHON_IMAGE=")]
    assert len(bases) == 1
    assert len(bases[0].rpartition(":")[2].split("-")[0].split(".")) == 3, "a full version"
    assert {rest.split()[0] for word, rest in IMAGE if word == "FROM"} == {"${PYTHON_IMAGE}", "service"}
    installs = [
        part
        for word, rest in IMAGE
        if word == "RUN"
        for part in rest.split("&&")
        if " install " in part and "/pip" in part
    ]
    assert installs
    assert all("--require-hashes" in one or "--no-index" in one for one in installs), installs


def test_the_builder_is_sent_what_is_copied_and_no_more() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    admitted = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source for word, rest in IMAGE if word == "COPY" and "--from" not in rest for source in rest.split()[:-1]
    }
    assert lines[1] == "*"
    assert admitted == copied
    assert all((ROOT / path).exists() for path in admitted)
    assert not any(fnmatch(".env", line) or "env" in line for line in admitted)


@pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda file: file.name)
def test_every_command_is_one_of_the_products_and_every_image_has_a_version(file: Path) -> None:
    for name, service in services(file):
        tag = service["image"].rpartition(":")[2].rstrip("}")
        assert tag[0].isdigit(), f"{name} has no version"
        if "build" not in service:
            continue
        words = service["command"]
        found: Any = app
        for word in words:
            if word.startswith("--"):
                assert word == "--no-jobs"
                break
            found = found[word]


def test_production_migrates_first_and_has_all_its_parts() -> None:
    found = dict(services(PRODUCTION))
    assert found.keys() == {"migrate", "api", "worker", "nginx", "postgres", "redis", "backup"}
    for name in ("api", "worker"):
        assert found[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
        assert found[name]["read_only"] is True
        assert found[name]["cap_drop"] == ["ALL"]
    assert found["api"]["command"] == ["serve", "--no-jobs"]
    assert found["api"]["deploy"]["replicas"] >= 2
    assert found["redis"]["command"][1] == "--requirepass"
    assert "noeviction" in found["redis"]["command"], "BullMQ's jobs must not be evicted"
    published = {name for name, service in found.items() if "ports" in service}
    assert published == {"nginx"}


def test_production_names_no_secret_and_starts_without_none() -> None:
    values = assignments(DOCKER / "production.env.example")
    secrets = {name for name in values if name.endswith(("_KEY", "_SECRET", "_PASSWORD"))}
    assert len(secrets) == 9
    assert {name: values[name] for name in secrets if values[name]} == {}
    text = PRODUCTION.read_text(encoding="utf-8")
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        assert text.count(f"${{{name}:?") == text.count(f"${{{name}"), f"{name} may be left out somewhere"


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/v1/health" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_the_health_check_tells_an_answer_from_none(port: int) -> None:
    def status(*words: str, port: int = port) -> int:
        command = [sys.executable, "-I", DOCKER / "healthcheck.py", *words]
        return subprocess.run(command, env={**os.environ, "PORT": str(port)}, check=False).returncode

    assert status() == 0
    assert status(f"http://127.0.0.1:{port}/health") == 1, "answered with 503"
    assert status(port=9) == 1, "nobody listens"


def test_a_backup_is_made_as_compose_makes_it(fresh_database_url: str, tmp_path: Path) -> None:
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{postgres_bin()}:/usr/bin:/bin",
        "NODE_ENV": "test",
        "DATABASE_URL": fresh_database_url,
        "REDIS_URL": "redis://127.0.0.1:9/0",
        "OFFERHUB_MASTER_KEY": "of this test, and long enough for it",
        "BACKUP_FOLDER": str(tmp_path),
    }
    command = ["/bin/sh", str(DOCKER / "backup.sh"), "once"]
    old = tmp_path / "books-2026-01-01T000000Z.dump"
    old.touch()
    os.utime(old, (0, 0))
    failed = subprocess.run(command, env={**environ, "PATH": "/usr/bin:/bin"}, capture_output=True, check=False)
    assert failed.returncode != 0
    assert old.exists(), "what is old goes only once there is something newer"
    made = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert {one.suffix for one in tmp_path.iterdir()} == {".dump", ".json"}
    assert not old.exists()


@pytest.mark.long
def test_linters_of_docker_find_nothing(tools: Path, tmp_path: Path) -> None:
    environ = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(tmp_path)}

    def run(*words: str | Path) -> None:
        told = subprocess.run(words, env=environ, cwd=DOCKER, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout + told.stderr

    run(tools / "hadolint", "--failure-threshold", "style", "Dockerfile")
    run(tools / "shellcheck", "backup.sh")
    run(tools / "docker-compose", "-f", "docker-compose.yml", "config", "--quiet")
    filled = tmp_path / "production.env"
    values = assignments(DOCKER / "production.env.example")
    filled.write_text("".join(f"{name}={value or 'x'}\n" for name, value in values.items()), encoding="utf-8")
    production = tmp_path / "docker-compose.prod.yml"
    production.write_text(PRODUCTION.read_text(encoding="utf-8").replace("../..", str(ROOT)), encoding="utf-8")
    run(tools / "docker-compose", "--env-file", filled, "-f", production, "config", "--quiet")
    monitoring = DOCKER / "docker-compose.monitoring.yml"
    run(tools / "docker-compose", "--env-file", filled, "-f", production, "-f", monitoring, "config", "--quiet")
    run(tools / "gixy", "nginx.conf")


@pytest.mark.long
def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    """By Debian's nginx; what is newer than that is taken out, and said here."""
    nginx, openssl = program("nginx", "nginx-light"), program("openssl", "openssl")
    keys = [tmp_path / "fullchain.pem", tmp_path / "privkey.pem"]
    make = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -out {keys[0]} -keyout {keys[1]}"
    subprocess.run(shlex.split(make), capture_output=True, check=True)
    text = (DOCKER / "nginx.conf").read_text(encoding="utf-8")
    for newer, older in (("server api:4000 resolve;", "server 127.0.0.1:4000;"), ("http2 on;", "")):
        assert newer in text
        text = text.replace(newer, older)
    text = text.replace("/etc/nginx/certificates", str(tmp_path)).replace("/run/nginx.pid", f"{tmp_path}/pid")
    file = tmp_path / "nginx.conf"
    file.write_text(text, encoding="utf-8")
    told = subprocess.run([nginx, "-t", "-q", "-c", file], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stderr == ""
