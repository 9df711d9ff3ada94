"""docs/operating/first-start.md as it is written, at a service in production mode.

A process of `offerhub serve` behind TLS, with PostgreSQL and Redis over TLS and secrets in files; the commands are
curl's, which reaches `your-domain.com` through its configuration file.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import pytest

from offerhub.app import product
from offerhub.cli.secrets import GENERATED
from offerhub.settings import load
from support.command import started
from support.documented import examples, faults_of
from support.fleet import START_SECONDS, Member, free_port
from support.outside import World, eventually
from support.payers import top_up
from support.product import Marketplace, Person, Running, fill_treasury
from support.tls import Certificates, TlsFront, TlsPostgres

PAGE: Final = Path(__file__).parents[2] / "docs" / "operating" / "first-start.md"
DOMAIN: Final = "your-domain.com"
IN_FILES: Final = ("OFFERHUB_MASTER_KEY", "WALLET_ENCRYPTION_KEY", "DATABASE_URL", "TRUSTLESS_WEBHOOK_SECRET")


@dataclass(frozen=True)
class Deployment:
    """A service in production mode, and somebody at a shell outside of it."""

    live: Running
    environ: dict[str, str]
    folder: Path

    async def types(self, command: str, **variables: str) -> str:
        """What bash prints for this; it must succeed."""
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", command),
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), **variables},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, told = await process.communicate()
        assert process.returncode == 0, told.decode()
        return printed.decode()


@pytest.fixture
async def deployed(
    tmp_path: Path,
    tls_postgres: TlsPostgres,
    office_environ: dict[str, str],
    sandbox_environ: dict[str, str],
    certificates: Certificates,
) -> AsyncIterator[Deployment]:
    name, port = f"first_start_{secrets.token_hex(4)}", free_port()
    connection = await asyncpg.connect(tls_postgres.url)
    await connection.execute(f"CREATE DATABASE {name}")
    redis = TlsFront(office_environ["REDIS_URL"], certificates)
    front = TlsFront(f"http://127.0.0.1:{port}", certificates)
    await redis.start()
    await front.start()
    environ = {
        **{key: text for key, text in sandbox_environ.items() if not key.startswith("OFFERHUB_")},
        **{key: make() for key, (make, _) in GENERATED.items()},
        "NODE_ENV": "production",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DATABASE_URL": urlunsplit(urlsplit(tls_postgres.url)._replace(path=f"/{name}")),
        "REDIS_URL": f"{redis.url}?ssl_ca_certs={certificates.authority}",
        "PUBLIC_BASE_URL": f"https://{DOMAIN}",
        "PAYMENT_PROVIDER": "airtm",
        "RATE_LIMIT_MAX": "10000",
        "DEPOSIT_POLL_SECONDS": "0.05",
        "LOG_LEVEL": "warn",
    }
    given = dict(environ)
    for key in IN_FILES:
        (tmp_path / key).write_text(given.pop(key))
        (tmp_path / key).chmod(0o600)
        given[f"{key}_FILE"] = str(tmp_path / key)
    (tmp_path / ".curlrc").write_text(
        f"connect-to = {DOMAIN}:443:127.0.0.1:{front.port}\ncacert = {certificates.authority}\nsilent\nshow-error\n"
    )
    member = Member("service", await started(tmp_path, "serve", **given, OFFERHUB_MASTER_KEY=""))
    try:
        async with asyncio.timeout(START_SECONDS):
            await member.ready()
        async with product(load(environ)) as made:
            yield Deployment(Running(made, f"http://127.0.0.1:{port}"), environ, tmp_path)
        assert await member.stop() == 0, "".join(member.printed)
    finally:
        await member.kill()
        await front.stop()
        await redis.stop()
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()


async def test_the_page_as_it_is_written_and_money_that_moves(
    deployed: Deployment, world: World, http: aiohttp.ClientSession
) -> None:
    live, environ = deployed.live, deployed.environ

    async def health() -> Any:
        return json.loads(await deployed.types(f"curl https://{DOMAIN}/api/v1/health/detailed"))["data"]

    await live.system_is_ready()
    await eventually(health, lambda found: found["status"] == "healthy")
    known = {"OFFERHUB_MASTER_KEY": environ["OFFERHUB_MASTER_KEY"]}
    run = [example for example in examples(PAGE) if example.language == "sh"]
    assert len(run) == 4
    answers: list[Any] = []
    for example in run:
        printed = await deployed.types(example.code, **known)
        assert faults_of(example.expected, printed) == [], f"{PAGE.name}:{example.line}"
        answers.append(json.loads(printed)["data"])
        known |= {"API_KEY": answers[-1]["key"]} if "key" in answers[-1] else {}

    tls = (
        "SELECT count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = $1"
    )
    assert await live.value(tls, urlsplit(environ["DATABASE_URL"]).path[1:]) == 0
    await money_moves(Marketplace(live, world, http, "", known["API_KEY"]), answers[-1]["id"])
    assert (await health())["status"] == "healthy"
    await live.assert_books_hold()


async def money_moves(shop: Marketplace, user_id: str) -> None:
    """Top-up, escrow, release, withdrawal; with the key of the guide's scopes."""
    buyer = Person(user_id, "")
    made = await shop.done("POST", "/users", {"externalId": "test-user-2", "email": "two@example.com"}, status=201)
    seller = Person(made["id"], "")
    await fill_treasury(shop.live, shop.world, "500")
    await top_up(shop, buyer, "100.00")
    order = await shop.order(buyer, seller, "40.00", "IN_PROGRESS")
    assert (await shop.done("POST", f"/orders/{order}/resolution/release"))["status"] == "CLOSED"
    assert await shop.balance(buyer) == ("60.00", "0.00")
    assert await shop.balance(seller) == ("39.88", "0.00")
    body = {"userId": buyer.id, "amount": "20.00", "destinationType": "airtm_balance", "destinationRef": "mine"}
    made = await shop.done("POST", "/withdrawals", {**body, "commit": True}, status=201)
    await shop.world.airtm_payout(made["airtmPayoutId"], "complete")
    paid = await shop.done("POST", f"/withdrawals/{made['id']}/refresh")
    assert paid["status"] == "WITHDRAWAL_COMPLETED"
    assert await shop.balance(buyer) == ("40.00", "0.00")
