"""Secrets stay where they belong (I17): after a life of the product, none is found in anything that it leaves."""

import asyncio
import base64
import json
import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import pytest
from hostile_site import Site
from redis.asyncio import Redis
from test_hostile_webhooks import svix

from offerhub.providers.stellar.keys import new_keypair
from offerhub.runtime.embedded.place import postgres_bin
from offerhub.runtime.vault import Sealed
from support.canaries import canary, spellings
from support.command import offerhub
from support.long_runs import Tally
from support.outside import World
from support.payers import top_up
from support.product import Marketplace, fill_treasury

Places = dict[str, bytes]
WHERE_PLANTED: Final = {"answers", "audit", "database", "log of api 0", "redis"}


async def keys_and_endpoints(site: Site) -> Marketplace:
    """Everything that is shown once: keys, a token, an endpoint's secrets. Returns a client whose key is mistaken."""
    shop, canaries = site.shop, site.canaries
    readers = await shop.with_key("read", "write")
    canaries.add("a second API key", readers.credential)
    made = await shop.done("POST", "/auth/api-keys", {"name": "t", "scopes": ["read"]}, status=201, key="make-a-key")
    canaries.add("a key that was made under an idempotency key", made["key"])
    issued = await shop.done("POST", f"/auth/api-keys/{made['id']}/token", {"ttl": 600}, status=201)
    canaries.add("a token", issued["token"].removeprefix("ohk_tok_"))
    await shop.using(issued["token"]).done("GET", "/me")
    await shop.done("DELETE", f"/auth/api-keys/{made['id']}")
    # It answers 404: each attempt is logged, and kept with what was sent.
    endpoint = await shop.done("POST", "/webhook-endpoints", {"url": f"{site.shop.world.url}/nowhere"}, status=201)
    again = await shop.done("POST", f"/webhook-endpoints/{endpoint['id']}/rotate-secret")
    await shop.done("POST", f"/webhook-endpoints/{endpoint['id']}/test", status=202)
    for number, secret in enumerate((endpoint["secret"], again["secret"]), 1):
        canaries.add(f"webhook secret {number}", secret.removeprefix("whsec_"))
        canaries.add(f"the key in webhook secret {number}", base64.b64decode(secret.removeprefix("whsec_")))
    return readers


async def money(site: Site, world: World) -> None:
    """A life on both rails: wallets, a deposit, a top-up, an escrow, payouts, and news of providers."""
    shop = site.shop
    buyer, seller = await shop.people("20", None)
    await fill_treasury(site.live, world, "100")
    email = await top_up(shop, buyer, "50.00")
    order_id = await shop.order(buyer, seller, "60.00", "IN_PROGRESS")
    await shop.done("POST", f"/orders/{order_id}/resolution/release")
    target, _ = await world.outside_wallet()
    common = {"userId": buyer.id, "amount": "2.00"}
    payout = {**common, "destinationType": "airtm_balance", "destinationRef": email, "commit": True}
    await shop.done("POST", "/withdrawals", payout, status=201)
    out = {**common, "destinationType": "crypto", "destinationRef": target}
    await shop.done("POST", "/withdrawals", out, status=201)
    body = json.dumps({"type": "payin.confirmed", "data": {"code": "topup_" + "0" * 32}}).encode()
    for secret in (site.environ["AIRTM_WEBHOOK_SECRET"], "whsec_" + base64.b64encode(b"0" * 32).decode()):
        await shop.using("").send("POST", "/webhooks/airtm", raw=body, headers=svix(secret, body, "msg_canary"))


async def mistakes(site: Site, mistaken: Marketplace) -> list[bytes]:
    """What people send in the wrong place: their key, and a wallet's seed. Returns the answers."""
    key, seed = mistaken.credential, bytes(new_keypair().secret).decode()
    site.canaries.add("a seed in the place of an address", seed)
    [person] = await site.shop.people(None)
    out: dict[str, Any] = {"userId": person.id, "amount": "1.00", "destinationType": "crypto", "destinationRef": seed}
    heard = [
        await mistaken.get(f"/users/{key}"),
        await mistaken.get(f"/users?api_key={key}&cursor={key}"),
        await mistaken.get(f"/orders?status={key}"),
        await mistaken.get(f"/idempotency/{quote(key)}"),
        await mistaken.get(f"/nowhere/{key}"),
        await mistaken.get("/me", headers={"x-request-id": key}),
        await mistaken.post(
            "/users", {"externalUserId": "canary-1"}, headers={"x-request-id": key, "user-agent": key}
        ),
        await mistaken.post("/users", {"externalUserId": "canary-2"}, headers={"user-agent": f"backend/1 {key}"}),
        await mistaken.post("/users", {"externalUserId": "canary-3"}, headers={"x-marketplace-id": key}),
        await mistaken.post("/users", {"externalUserId": "canary-4"}, key=key),
        await mistaken.post("/users", {"externalUserId": "canary-5", "apiKey": key, key: key}),
        await mistaken.post("/users", raw=f'{{"externalUserId": "{key}'.encode()),
        await mistaken.post("/orders", {"amount": key, "title": "t", "buyer_id": key, "seller_id": key}),
        await mistaken.post("/withdrawals", out, key="seed-1"),
        await mistaken.post("/withdrawals", {**out, "destinationRef": person.address, "memo": seed}, key="seed-2"),
        await mistaken.post("/withdrawals", {**out, "amount": seed, "destinationRef": person.address}, key="seed-3"),
        await mistaken.post("/webhook-endpoints", {"url": f"https://user:{key}@example.com/"}),
        await mistaken.using(f"{key[:-1]}x").get("/me"),
        await mistaken.using("").get("/me", headers={"authorization": f"Basic {key}"}),
        await mistaken.using("").get("/me", headers={"authorization": f"Bearer {key} {key}"}),
        await mistaken.using("").post("/webhooks/airtm", {"type": key}, headers={"svix-signature": f"v1,{key}"}),
    ]
    assert all(one.status < 500 for one in heard)
    return [json.dumps(one.headers).encode() + one.body for one in heard]


async def seeds(site: Site) -> None:
    """The secrets of all wallets, which only the vault can open."""
    vault = site.live.product.vault
    for row in await site.live.rows("SELECT public_key, secret_blob, key_version FROM wallets"):
        opened = vault.open(Sealed(row["key_version"], row["secret_blob"]), bound_to=row["public_key"])
        site.canaries.add(f"the seed of {row['public_key']}", bytes(opened))


async def dumped(url: str) -> bytes:
    """The whole database, as `pg_dump` writes it, and what its sessions are at."""
    place = urlsplit(url)
    process = await asyncio.create_subprocess_exec(
        str(postgres_bin() / "pg_dump"),
        *("--host", str(place.hostname), "--port", str(place.port), "--username", unquote(place.username or "")),
        *("--dbname", place.path[1:]),
        env={**os.environ, "PGPASSWORD": unquote(place.password or "")},
        stdout=asyncio.subprocess.PIPE,
    )
    found, _ = await process.communicate()
    assert process.returncode == 0
    return found


async def remembered(url: str) -> bytes:
    """Every key of Redis and what it holds."""
    client: Any = Redis.from_url(url)
    found: list[Any] = []
    async for key in client.scan_iter(count=1000):
        kind = (await client.type(key)).decode()
        match kind:
            case "string":
                value = await client.get(key)
            case "hash":
                value = await client.hgetall(key)
            case "list":
                value = await client.lrange(key, 0, -1)
            case "set":
                value = await client.smembers(key)
            case "zset":
                value = await client.zrange(key, 0, -1)
            case "stream":
                value = await client.xrange(key)
            case "none":
                continue  # it has expired meanwhile
            case _:
                raise AssertionError(kind)
        found += [key, value]
    await client.aclose()
    # As bytes are written by `repr`: what is printable stays as it is.
    return repr(found).encode()


async def pages(shop: Marketplace, path: str) -> bytes:
    """All of a list."""
    found, cursor = b"", ""
    while True:
        heard = await shop.get(f"{path}?limit=100{cursor}")
        assert heard.status == 200, heard.body
        found += heard.body
        following = heard.json["pagination"]
        if not following["hasMore"]:
            return found
        cursor = f"&cursor={quote(following['nextCursor'])}"


def command_line(pid: int) -> bytes:
    """What everybody on the machine sees of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def everything(site: Site, answers: list[bytes], folder: Path) -> Places:
    """All that the product has left, by where it is."""
    shop, anybody = site.shop, site.shop.using("")
    operator = Marketplace(site.live, shop.world, shop.http, "", site.environ["OFFERHUB_MASTER_KEY"])
    sessions = await site.live.rows(
        "SELECT query, application_name FROM pg_stat_activity WHERE application_name <> ''"
    )
    asked = {"OFFERHUB_API_KEY": shop.credential, "OFFERHUB_API_URL": site.live.url, "HOME": str(folder)}
    status, shown = await offerhub(folder, "config", "show", **{**site.environ, **asked})
    assert status == 0, shown
    places = {
        "answers": b"\n".join(answers),
        "database": await dumped(site.environ["DATABASE_URL"]),
        "sessions": repr([tuple(row) for row in sessions]).encode(),
        "redis": await remembered(site.environ["REDIS_URL"]),
        "events": await pages(shop, "/events/log"),
        "audit": await pages(shop, "/audit/logs"),
        "keys": await pages(shop, "/auth/api-keys"),
        "endpoints": await pages(shop, "/webhook-endpoints"),
        "metrics": (await operator.get("/metrics")).body,
        "queues": (await operator.get("/admin/queues")).body + (await operator.get("/admin/dlq")).body,
        "health": (await anybody.get("/health/detailed")).body + (await anybody.get("/config")).body,
        "documentation": (await anybody.get("/openapi.json")).body + (await anybody.get("/docs")).body,
        "config show": shown.encode(),
    }
    for member in site.fleet.members:
        places[f"log of {member.name}"] = "".join(member.printed).encode()
        places[f"command line of {member.name}"] = command_line(member.pid)
    assert all(places.values()), [name for name, place in places.items() if not place]
    return places


async def planted_everywhere(site: Site, answers: list[bytes]) -> str:
    """A secret that is let out on purpose, each time in another spelling: the search must find it."""
    planted = canary("PLANTED")
    site.canaries.add("planted", planted)
    raw = planted.encode()
    heard = await site.shop.post("/users", {"externalUserId": "canary-p"}, headers={"x-request-id": planted})
    answers.append(heard.body)
    kept = "INSERT INTO leases (name, holder, held_until) VALUES ('planted', $1, now())"
    await site.live.product.database.run(lambda tx: tx.execute(kept, base64.b64encode(b"a" + raw).decode()))
    client: Any = Redis.from_url(site.environ["REDIS_URL"])
    await client.hset("planted", "a", raw.hex().upper())
    await client.aclose()
    return planted


async def test_no_secret_is_found_in_anything_that_is_left_behind(
    site: Site, world: World, tally: Tally, tmp_path: Path
) -> None:
    mistaken = await keys_and_endpoints(site)
    await money(site, world)
    answers = await mistakes(site, mistaken)
    await seeds(site)
    await planted_everywhere(site, answers)
    places = await everything(site, answers, tmp_path)
    assert b"debug" in places["log of api 0"], "they log all they can"
    assert b"debug" in places["log of worker 0"]
    found = site.canaries.found_in(places.items())
    control = [one for one in found if one.startswith("planted in ")]
    assert {one.removeprefix("planted in ") for one in control} >= WHERE_PLANTED, "the search finds what is there"
    assert sorted(set(found) - set(control)) == []
    assert len(site.canaries) > 25
    tally("canary secrets searched for", len(site.canaries))


@pytest.mark.parametrize("secret", ["canary + a/b=c&d\u00e9", b"\0\xff\x10 binary key of thirty-two."])
def test_every_spelling_is_recognised(secret: str | bytes) -> None:
    raw = secret.encode() if isinstance(secret, str) else secret
    texts = [raw, raw.hex().encode(), quote(raw, safe="").encode()]
    texts += [base64.b64encode(b"-" * before + raw + b"-" * after) for before in range(5) for after in range(4)]
    texts += [base64.urlsafe_b64encode(b"-" * before + raw) for before in range(5)]
    for text in texts:
        assert any(form in b"(" + text + b")" for form in spellings(secret)), text
    assert not any(form in b"something else entirely" for form in spellings(secret))
