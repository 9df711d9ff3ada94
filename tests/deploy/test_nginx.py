"""nginx with the file of the Compose set-up, in front of a running service: TLS, streams, limits, what is kept back.

A long test, by Debian's nginx. What is newer than that, and what names Docker's network, is replaced; the rules stay.
"""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from deploy_files import DOCKER, program

from support.outside import PATIENCE_SECONDS, eventually
from support.product import Marketplace, Running, unique

pytestmark = pytest.mark.long

REPLACED = {
    "server api:4000 resolve;": "server {service};",
    "http2 on;": "",
    "worker_processes auto;": "worker_processes 1; daemon off;",
    "/etc/nginx/certificates": "{folder}",
    "/run/nginx.pid": "{folder}/nginx.pid",
    "listen 80 default_server;": "listen 127.0.0.1:{plain} default_server;",
    "listen 443 ssl default_server;": "listen 127.0.0.1:{secure} ssl default_server;",
}


@dataclass(frozen=True)
class Front:
    """Where nginx listens."""

    plain: str
    secure: str


@pytest.fixture
async def front(live: Running, tmp_path: Path, http: aiohttp.ClientSession) -> AsyncIterator[Front]:
    nginx, openssl = program("nginx", "nginx-light"), program("openssl", "openssl")
    make = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    make += ["-out", str(tmp_path / "fullchain.pem"), "-keyout", str(tmp_path / "privkey.pem")]
    await asyncio.to_thread(subprocess.run, make, capture_output=True, check=True)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        plain, secure = one.getsockname()[1], other.getsockname()[1]
    service = live.url.removeprefix("http://").partition("/")[0]
    text = (DOCKER / "nginx.conf").read_text(encoding="utf-8")
    for old, new in REPLACED.items():
        assert old in text
        text = text.replace(old, new.format(service=service, folder=tmp_path, plain=plain, secure=secure))
    file = tmp_path / "nginx.conf"
    file.write_text(text, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(nginx, "-q", "-c", str(file), stderr=asyncio.subprocess.DEVNULL)
    found = Front(f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secure}/api/v1")

    async def answers() -> int:
        try:
            async with http.get(f"{found.secure}/ready", ssl=False) as heard:
                return heard.status
        except aiohttp.ClientError:
            return 0

    try:
        await eventually(answers, lambda status: status == 200)
        yield found
    finally:
        process.terminate()
        await process.wait()


async def test_events_come_through_one_by_one(front: Front, shop: Marketplace, http: aiohttp.ClientSession) -> None:
    """A proxy that buffers would keep the first event until there were many."""
    headers = {"Authorization": f"Bearer {shop.credential}"}
    wait = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    async with http.get(f"{front.secure}/events", headers=headers, ssl=False, timeout=wait) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        for _ in range(2):
            name = unique("user")
            await shop.done("POST", "/users", {"externalUserId": name, "type": "BUYER"}, status=201)
            async for line in stream.content:
                if line.startswith(b"data:") and name.encode() in line:
                    break
            else:
                pytest.fail("the stream ended")


async def test_what_is_passed_on_and_what_is_not(
    front: Front, shop: Marketplace, http: aiohttp.ClientSession
) -> None:
    headers = {"Authorization": f"Bearer {shop.credential}"}
    async with http.get(f"{front.plain}/api/v1/health", allow_redirects=False) as heard:
        assert (heard.status, heard.headers["location"]) == (308, "https://127.0.0.1/api/v1/health")
    async with http.get(f"{front.secure}/users", headers=headers, ssl=False) as heard:
        assert heard.status == 200
        assert "max-age" in heard.headers["strict-transport-security"]
    async with http.get(f"{front.secure}/metrics", headers=headers, ssl=False) as heard:
        assert (heard.status, heard.headers["server"]) == (404, "nginx")
    async with http.post(f"{front.secure}/webhooks/trustless-work", data=b"{}", ssl=False) as heard:
        assert "x-offerhub-version" in heard.headers, "the service itself has answered"


async def test_a_stranger_does_not_use_up_what_all_strangers_share(
    front: Front, shop: Marketplace, http: aiohttp.ClientSession
) -> None:
    async def status(**headers: str) -> int:
        async with http.get(f"{front.secure}/health", headers=headers, ssl=False) as heard:
            return heard.status

    async def webhook() -> int:
        async with http.post(f"{front.secure}/webhooks/airtm", data=b"{}", ssl=False) as heard:
            return heard.status

    assert {await status() for _ in range(60)} == {200, 429}
    assert 429 not in {await webhook() for _ in range(40)}, "providers come in bursts, and without a key"
    assert {await status(Authorization=f"Bearer {shop.credential}") for _ in range(40)} == {200}
