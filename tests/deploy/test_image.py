"""The Dockerfile, executed step by step in empty roots (debootstrap), and what comes out of it at work.

A long test, for root on a Debian; another Debian, with its own Python, stands for the base image. The service runs as
the image's user, on a file system that it cannot write, in production mode, against real servers.
"""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from deploy_files import DOCKER, program
from image_roots import Stage, build, debian

from support.collector import Collector
from support.outside import PATIENCE_SECONDS

pytestmark = pytest.mark.long

HEALTHCHECK = ["python", "/opt/offerhub/healthcheck.py"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty Debian of the image's release, in a folder of its own."""
    program("debootstrap", "debootstrap")
    if os.geteuid() != 0:
        pytest.skip("needs root, for chroot")
    listed = subprocess.run(
        [program("apt-get", "apt"), "indextargets", "--format", "$(SITE)"], capture_output=True, text=True, check=True
    )
    mirrors = [line for line in listed.stdout.splitlines() if line.endswith("/debian")]
    if not mirrors:
        pytest.skip("needs a Debian whose apt knows a mirror")
    folder = tmp_path_factory.mktemp("image")
    folder.chmod(0o755)
    image = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    release = re.search(r"^ARG PYTHON_IMAGE=python:[\d.]+-slim-(\w+)$", image, re.MULTILINE)
    assert release is not None
    yield debian(folder / "base", release[1], mirrors[0])
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def stages(base: Path) -> dict[str, Stage]:
    return build(DOCKER / "Dockerfile", base, base.parent)


@pytest.fixture(scope="module")
def watched(base: Path) -> Stage:
    """What `--build-arg REQUIREMENTS=otel-sentry` makes of it."""
    given = {"REQUIREMENTS": "otel-sentry"}
    return build(DOCKER / "Dockerfile", base, base.parent / "watched", given=given, without="tools")[""]


def test_it_holds_the_program_compiled_and_nothing_to_build_with(stages: dict[str, Stage]) -> None:
    service = stages[""]
    assert service.user == "10001:10001"
    assert "0.1.0" in service.run(["offerhub", "--version"])
    packages = next((service.root / "opt/offerhub/lib").glob("python3*/site-packages"))
    sources = [file for file in packages.rglob("*.py") if "test" not in file.parts]
    compiled = {Path(file.parent.parent, file.name.partition(".")[0]) for file in packages.rglob("*.pyc")}
    assert [file for file in sources if file.with_suffix("") not in compiled] == []
    assert not (packages / "pip").exists()
    assert not (packages / "hatchling").exists()
    assert not (service.root / "build").exists()
    assert next(packages.glob("offerhub/migrations/0001_foundation/up.sql")).stat().st_size > 0


def test_the_tools_have_postgresqls_programs(stages: dict[str, Stage]) -> None:
    tools = stages["tools"]
    assert tools.user == "10001:10001"
    assert re.search(r"\(PostgreSQL\) 17\b", tools.run(["pg_dump", "--version"]))
    assert "0.1.0" in tools.run(["offerhub", "--version"])
    assert not list((stages[""].root / "usr/lib/postgresql").glob("*")), "the service has none"


@pytest.fixture
def production(fresh_database_url: str, redis_url: str, sandbox_environ: dict[str, str]) -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = {"PORT": str(one.getsockname()[1]), "METRICS_PORT": str(other.getsockname()[1])}
    return {
        **sandbox_environ,
        **ports,
        "HOST": "127.0.0.1",
        "DATABASE_URL": fresh_database_url,
        "REDIS_URL": redis_url,
        "OFFERHUB_MASTER_KEY": secrets.token_urlsafe(32),
        "TRUSTLESS_WEBHOOK_SECRET": secrets.token_urlsafe(32),
    }


@contextlib.asynccontextmanager
async def at_work(
    stage: Stage, words: list[str], ready: str, variables: dict[str, str], *, read_only: bool = True
) -> AsyncIterator[None]:
    """A process of the image, by itself on a file system that cannot be written; it has to stop well when told to."""
    command = stage.command(["offerhub", *words], read_only=read_only, **variables)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed: list[str] = []
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while ready not in (line := (await process.stdout.readline()).decode()):
                printed.append(line)
                assert line, "".join(printed)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        rest, _ = await process.communicate()
    assert process.returncode == 0, rest.decode()[-3000:]


async def test_the_service_and_a_worker_run_in_it_without_writing(
    stages: dict[str, Stage], production: dict[str, str]
) -> None:
    service = stages[""]
    service.run(["offerhub", "migrate", "up"], **production)
    api = {name: value for name, value in production.items() if name != "METRICS_PORT"}
    async with at_work(service, ["serve", "--no-jobs"], "offerhub ready", api):
        await asyncio.to_thread(service.run, HEALTHCHECK, **api)
        ready = f"http://127.0.0.1:{api['PORT']}/api/v1/ready"
        await asyncio.to_thread(service.run, [*HEALTHCHECK, ready], **api)
        async with at_work(service, ["worker"], "offerhub worker ready", production):
            health = f"http://127.0.0.1:{production['METRICS_PORT']}/health"
            await asyncio.to_thread(service.run, [*HEALTHCHECK, health], **production)


async def test_built_with_the_clients_of_both_it_sends_traces_and_takes_a_dsn(
    watched: Stage, production: dict[str, str]
) -> None:
    collector = Collector()
    with collector.listening(), socket.create_server(("127.0.0.1", 0)) as nobody:
        told = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "SENTRY_DSN": f"http://key@127.0.0.1:{nobody.getsockname()[1]}/1",
        }
        api = {name: value for name, value in production.items() if name != "METRICS_PORT"} | told
        async with at_work(watched, ["serve"], "offerhub ready", api):
            ready = f"http://127.0.0.1:{api['PORT']}/api/v1/ready"
            await asyncio.to_thread(watched.run, [*HEALTHCHECK, ready], **api)
            await collector.until(lambda spans: any(span.name == "GET /api/v1/ready" for span in spans))


@pytest.mark.parametrize(
    ("variable", "address", "extra"),
    [
        ("SENTRY_DSN", "http://key@127.0.0.1:9/1", "offerhub[sentry]"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9", "offerhub[otel]"),
    ],
)
def test_without_them_it_says_what_is_missing(
    stages: dict[str, Stage], production: dict[str, str], variable: str, address: str, extra: str
) -> None:
    words = stages[""].command(["offerhub", "serve", "--no-jobs"], **production | {variable: address})
    told = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert told.returncode == 2
    assert extra in told.stderr


async def test_development_runs_in_it_with_its_sandbox(
    stages: dict[str, Stage], fresh_database_url: str, redis_url: str
) -> None:
    """As docker-compose.yml has it: data goes to /var/lib/offerhub, which is the user's."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        port, sandbox_port = str(one.getsockname()[1]), str(other.getsockname()[1])
    variables = {"NODE_ENV": "development", "DATABASE_URL": fresh_database_url, "REDIS_URL": redis_url}
    words = ["dev", "--port", port, "--sandbox-port", sandbox_port]
    service = stages[""]
    async with at_work(service, words, "offerhub ready", variables, read_only=False):
        await asyncio.to_thread(service.run, [*HEALTHCHECK, f"http://127.0.0.1:{port}/api/v1/health"])
        url = f"http://127.0.0.1:{sandbox_port}"
        assert "ledger" in await asyncio.to_thread(service.run, ["offerhub", "sandbox", "state", "--url", url])
        assert (await asyncio.to_thread(service.run, ["cat", "master.key"])).strip()
