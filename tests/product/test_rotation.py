"""The procedures of docs/operating/secrets.md, step by step: what was good before a step is good after it.

The one for the wallet key is in test_wallet_key_procedure.py.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from offerhub import parts
from offerhub.runtime.migrations import migrate
from offerhub.settings import derive_key, load
from support.outside import World, eventually
from support.own_redis import OwnRedis
from support.product import MASTER_KEY, Marketplace, Person, Running, running, unique
from support.webhooks import airtm_headers

PAGE: Final = Path(__file__).parents[2] / "docs" / "operating" / "secrets.md"
NEW_MASTER_KEY: Final = "rJ2uQ0w7mE9yX4bT6nV1zK8cP3hL5sDg0aFiOqUeWxY="


async def pays(shop: Marketplace, person: Person) -> None:
    """A payment that is signed with a wallet's key."""
    target, _ = await shop.world.outside_wallet()
    out = {"userId": person.id, "amount": "1.00", "destinationType": "crypto", "destinationRef": target}
    assert (await shop.done("POST", "/withdrawals", out, status=201))["status"] == "WITHDRAWAL_COMPLETED"


async def test_the_master_key(office_environ: dict[str, str], world: World, http: aiohttp.ClientSession) -> None:
    environ = {**office_environ, "LOG_LEVEL": "error"}
    pinned = {
        "WALLET_ENCRYPTION_KEY": derive_key(MASTER_KEY, "wallet-encryption").hex(),  # step 1
        "OFFERHUB_JWT_SECRET": secrets.token_urlsafe(48),  # step 2
    }
    async with running(environ) as live:
        shop = await Marketplace.found(live, world, http)
        [person] = await shop.people("50")
        await pays(shop, person)
    async with running({**environ, **pinned}) as live:  # step 3
        shop = shop.on(live)
        await pays(shop, person)
        assert (await shop.using(MASTER_KEY).get("/auth/me")).status == 200
    overlap = {"OFFERHUB_MASTER_KEY": NEW_MASTER_KEY, "OFFERHUB_MASTER_KEY_PREVIOUS": MASTER_KEY}
    async with running({**environ, **pinned}) as late, running({**environ, **pinned, **overlap}) as early:  # step 4
        assert (await shop.on(late).using(NEW_MASTER_KEY).get("/auth/me")).status == 401, "until then use the old one"
        for live in (late, early):
            await pays(shop.on(live), person)
            assert (await shop.on(live).using(MASTER_KEY).get("/auth/me")).status == 200
        assert (await shop.on(early).using(NEW_MASTER_KEY).get("/auth/me")).status == 200  # step 5
    async with running({**environ, **pinned, "OFFERHUB_MASTER_KEY": NEW_MASTER_KEY}) as live:  # step 6
        shop = shop.on(live)
        await pays(shop, person)
        assert (await shop.using(MASTER_KEY).get("/auth/me")).status == 401
        assert (await shop.using(NEW_MASTER_KEY).get("/auth/me")).status == 200
        assert (await shop.get("/auth/me")).status == 200, "API keys do not depend on it"
        await live.assert_books_hold()


# -- webhook secrets ---------------------------------------------------------------------------------------------

OLD_AIRTM, NEW_AIRTM = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_cY7kPq1VtT0n4c8bq5yqJgPpX2i3m6Zr"
OLD_TRUSTLESS, NEW_TRUSTLESS = "tw_whsec_before", "tw_whsec_after"


async def accepted(shop: Marketplace, airtm: str, trustless: str) -> tuple[int, int]:
    """The statuses of a message of each provider, signed with these secrets."""
    message = unique("msg")
    body = json.dumps({"eventType": "payin.updated", "data": {"id": unique("payin")}}).encode()
    headers = airtm_headers(airtm, body, message)
    told = await shop.using("").send("POST", "/webhooks/airtm", raw=body, headers=headers)
    news = json.dumps({"type": "escrow.funded", "event_id": unique("evt"), "data": {"order_id": "none"}}).encode()
    signed = {"x-tw-signature": hmac.new(trustless.encode(), news, hashlib.sha256).hexdigest()}
    heard = await shop.using("").send("POST", "/webhooks/trustless-work", raw=news, headers=signed)
    return told.status, heard.status


async def test_webhook_secrets(office_environ: dict[str, str], world: World, http: aiohttp.ClientSession) -> None:
    def variables(airtm: str, trustless: str, **previous: str) -> dict[str, str]:
        own = {"PAYMENT_PROVIDER": "airtm", "AIRTM_WEBHOOK_SECRET": airtm, "TRUSTLESS_WEBHOOK_SECRET": trustless}
        return {**office_environ, "LOG_LEVEL": "error", **own, **previous}

    before = variables(OLD_AIRTM, OLD_TRUSTLESS)
    overlap = variables(NEW_AIRTM, NEW_TRUSTLESS, AIRTM_WEBHOOK_SECRET_PREVIOUS=OLD_AIRTM,
                        TRUSTLESS_WEBHOOK_SECRET_PREVIOUS=OLD_TRUSTLESS)  # fmt: skip
    after = variables(NEW_AIRTM, NEW_TRUSTLESS)
    heard: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for step in (before, overlap, after):
        async with running(step, jobs=False) as live:
            shop = await Marketplace.found(live, world, http)
            heard.append(
                (await accepted(shop, OLD_AIRTM, OLD_TRUSTLESS), await accepted(shop, NEW_AIRTM, NEW_TRUSTLESS))
            )
    good, refused = (200, 200), (401, 401)
    assert heard == [(good, refused), (good, good), (refused, good)]


# -- passwords ---------------------------------------------------------------------------------------------------


class Roles:
    """Two roles for one database, `_a` its owner; the statements are those of the page."""

    def __init__(self, administrator: "asyncpg.Connection[Any]", url: str, name: str) -> None:
        self.administrator = administrator
        self.a, self.b = name, f"{name}_b"
        self._url = url
        self.passwords = {self.a: "first", self.b: "…"}

    def url(self, role: str) -> str:
        parts = urlsplit(self._url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{role}:{self.passwords[role]}@{host}"))

    async def add_second(self) -> None:
        """As it stands in the page, with this database's role for `offerhub`, and a password."""
        text = PAGE.read_text(encoding="utf-8")
        block = re.search(r"## Database password.*?```sql\n(.*?)```", text, re.DOTALL)
        assert block is not None
        self.passwords[self.b] = "second"
        await self.administrator.execute(block[1].replace("offerhub", self.a).replace("…", "second"))

    async def connected(self, role: str) -> int:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"
        return int(await self.administrator.fetchval(sql, role))


@pytest.fixture
async def roles(empty_database_url: str) -> AsyncIterator[Roles]:
    administrator = await asyncpg.connect(empty_database_url)
    made = Roles(administrator, empty_database_url, f"shop_{secrets.token_hex(4)}")
    database = urlsplit(empty_database_url).path[1:]
    await administrator.execute(f"CREATE ROLE {made.a} LOGIN PASSWORD 'first'")
    await administrator.execute(f"ALTER DATABASE {database} OWNER TO {made.a}")
    yield made
    await administrator.execute(f"DROP OWNED BY {made.a} CASCADE")
    await administrator.execute(f"DROP ROLE IF EXISTS {made.b}; REASSIGN OWNED BY {made.a} TO CURRENT_USER")
    await administrator.execute(f"DROP ROLE {made.a}")
    await administrator.close()


async def works(live: Running, world: World, http: aiohttp.ClientSession) -> None:
    shop = await Marketplace.found(live, world, http)
    await shop.done("POST", "/users", {"externalUserId": unique("user")}, status=201)


async def test_the_database_password(
    roles: Roles, office_environ: dict[str, str], world: World, http: aiohttp.ClientSession
) -> None:
    environ = {**office_environ, "LOG_LEVEL": "error"}
    await migrate(roles.url(roles.a))
    async with running({**environ, "DATABASE_URL": roles.url(roles.a)}, jobs=False) as first:
        await works(first, world, http)
        await roles.add_second()  # step 1
        await works(first, world, http)
        async with running({**environ, "DATABASE_URL": roles.url(roles.b)}, jobs=False) as second:  # step 2
            await works(first, world, http)
            await works(second, world, http)
            made = await asyncpg.connect(roles.url(roles.b))
            await made.execute("CREATE TABLE made_by_a_migration (id int)")
            await made.close()
            owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'made_by_a_migration'"
            assert await roles.administrator.fetchval(owner) == roles.a, "one owner, whoever migrates"
    async with running({**environ, "DATABASE_URL": roles.url(roles.b)}, jobs=False) as live:
        await eventually(lambda: roles.connected(roles.a), lambda count: count == 0)  # step 3
        old = roles.url(roles.a)
        await roles.administrator.execute(f"ALTER ROLE {roles.a} PASSWORD 'third'")
        await works(live, world, http)
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(old)


async def test_the_password_of_redis(tmp_path: Path) -> None:
    server = OwnRedis(tmp_path, "first")
    await server.start()

    async def answers(password: str) -> bool:
        url = server.url.replace(":first@", f":{password}@")
        settings = load({"OFFERHUB_MASTER_KEY": "x", "DATABASE_URL": "postgresql://h/d", "REDIS_URL": url})
        client = parts.prompt_redis(settings)
        try:
            return bool(await client.ping())
        except AuthenticationError:
            return False
        finally:
            await client.aclose()

    administrator = Redis.from_url(server.url)
    try:
        await administrator.execute_command("ACL", "SETUSER", "default", ">second")  # step 1
        assert (await answers("first"), await answers("second")) == (True, True)  # step 2
        await administrator.execute_command("ACL", "SETUSER", "default", "<first")  # step 3
        assert (await answers("first"), await answers("second")) == (False, True)
    finally:
        await administrator.aclose()
        await server.stop()
