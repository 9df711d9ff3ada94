"""`offerhub serve` as an operator runs it: several processes behind one port, and whose address it believes."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from support.command import Command, offerhub, started
from support.fleet import Member, free_port
from support.outside import eventually
from support.product import environment

PROCESSES = 2


@pytest.fixture
def environ(fresh_database_url: str, redis_url: str, sandbox_environ: dict[str, str]) -> dict[str, str]:
    found = environment(fresh_database_url, redis_url, sandbox_environ)
    own = {"PORT": str(free_port()), "METRICS_PORT": str(two_free_ports()), "WEB_CONCURRENCY": str(PROCESSES)}
    return {**found, **own, "HOST": "127.0.0.1", "RATE_LIMIT_MAX": "100000"}


def two_free_ports() -> int:
    """The first of two ports in a row that nobody listens on."""
    while True:
        first = free_port()
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", first + 1)):
            return first


def parts_of(command: Command) -> list[int]:
    """The processes that it has begun."""
    with contextlib.suppress(FileNotFoundError):
        return [int(pid) for pid in Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()]
    return []


def alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextlib.asynccontextmanager
async def serving(folder: Path, environ: dict[str, str]) -> AsyncIterator[Member]:
    process = await started(folder, "serve", **environ)
    member = Member("several", process, f"http://127.0.0.1:{environ['PORT']}/api/v1")
    try:
        await member.ready()
        yield member
    finally:
        await member.kill()


async def text_of(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url, headers={"connection": "close"}) as answer:
        return await answer.text()


async def test_all_answer_one_that_ends_is_replaced_and_all_stop_together(
    tmp_path: Path, environ: dict[str, str], http: aiohttp.ClientSession
) -> None:
    ports = [int(environ["METRICS_PORT"]) + number for number in range(PROCESSES)]
    async with serving(tmp_path, environ) as member:
        for _ in range(60):
            assert "healthy" in await text_of(http, f"{member.url}/health")
        for port in ports:
            assert 'offerhub_http_requests_total{route="health' in await text_of(
                http, f"http://127.0.0.1:{port}/metrics"
            )
        # The jobs are one process's, however many there are.
        assert "".join(member.printed).count("background_started") == 1

        before = parts_of(member.process)
        assert len(before) == PROCESSES
        os.kill(before[-1], signal.SIGKILL)

        async def replaced() -> bool:
            return len(parts_of(member.process)) == PROCESSES and before[-1] not in parts_of(member.process)

        await eventually(replaced, bool)

        async def both_answer() -> bool:
            with contextlib.suppress(aiohttp.ClientError):
                return all(["healthy" in await text_of(http, f"http://127.0.0.1:{port}/health") for port in ports])
            return False

        await eventually(both_answer, bool)
        now = parts_of(member.process)
        assert await member.stop() == 0, member.printed[-10:]
        assert not any(alive(pid) for pid in now)


async def test_they_end_with_the_first_however_that_ends(tmp_path: Path, environ: dict[str, str]) -> None:
    async with serving(tmp_path, environ) as member:
        parts = parts_of(member.process)
        await member.kill()

        async def gone() -> bool:
            return not any(alive(pid) for pid in parts)

        await eventually(gone, bool)


async def test_where_one_cannot_start_none_does(tmp_path: Path, environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", int(environ["METRICS_PORT"]) + 1)):
        process = await started(tmp_path, "serve", **environ)
        parts: set[int] = set()
        printed = asyncio.ensure_future(process.communicate())
        while not printed.done():
            parts.update(parts_of(process))
            await asyncio.sleep(0.05)
    assert process.returncode == 1
    assert "process_did_not_start" in (await printed)[0].decode()
    assert parts
    assert not any(alive(pid) for pid in parts)


async def test_a_port_that_is_taken_is_not_shared_with_a_stranger(tmp_path: Path, environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", int(environ["PORT"])), reuse_port=True):
        code, printed = await offerhub(tmp_path, "serve", **environ)
    assert code == 2
    assert printed.strip() == f"offerhub: cannot listen on 127.0.0.1:{environ['PORT']}: Address already in use."


async def test_a_forwarded_address_is_not_believed(
    tmp_path: Path, environ: dict[str, str], http: aiohttp.ClientSession
) -> None:
    """Also not from this machine: whoever writes another address in every request is limited as one."""
    limited = {**environ, "WEB_CONCURRENCY": "1", "RATE_LIMIT_MAX": "5"}
    async with serving(tmp_path, limited) as member:
        statuses = []
        for number in range(10):
            async with http.get(f"{member.url}/me", headers={"x-forwarded-for": f"203.0.113.{number}"}) as answer:
                statuses.append(answer.status)
    assert statuses == [401] * 5 + [429] * 5
