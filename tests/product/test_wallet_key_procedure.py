"""The procedure of docs/operating/secrets.md for the wallet key, step by step, with money moving all the while."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import aiohttp

from support.command import offerhub
from support.outside import World
from support.product import Marketplace, Person, Running, running

OLD, NEW = "0a" * 32, "0b" * 32
VERSION: Final = "OFFERHUB_WALLET_KEY_VERSION"
BEFORE = {"WALLET_ENCRYPTION_KEY": OLD, VERSION: "1"}
KNOWN = BEFORE | {"WALLET_ENCRYPTION_KEYS_PREVIOUS": f"2:{NEW}"}
CHANGED = {"WALLET_ENCRYPTION_KEY": NEW, VERSION: "2", "WALLET_ENCRYPTION_KEYS_PREVIOUS": f"1:{OLD}"}
AFTER = {"WALLET_ENCRYPTION_KEY": NEW, VERSION: "2"}


async def versions(live: Running) -> dict[int, int]:
    rows = await live.rows("SELECT key_version, count(*) AS n FROM wallets GROUP BY key_version")
    return {row["key_version"]: row["n"] for row in rows}


async def everything_signs(shop: Marketplace, buyer: Person, seller: Person) -> None:
    """Deploy, fund, mark, approve, release; dispute and resolve; and a payment out of a wallet."""
    order_id = await shop.order(buyer, seller, "10.00", "IN_PROGRESS")
    assert (await shop.done("POST", f"/orders/{order_id}/resolution/release"))["status"] == "CLOSED"
    order_id = await shop.order(buyer, seller, "5.00", "IN_PROGRESS")
    body = {"reason": "not delivered"}
    assert (await shop.done("POST", f"/orders/{order_id}/resolution/refund", body))["status"] == "CLOSED"
    target, _ = await shop.world.outside_wallet()
    out = {"userId": seller.id, "amount": "1.00", "destinationType": "crypto", "destinationRef": target}
    assert (await shop.done("POST", "/withdrawals", out, status=201))["status"] == "WITHDRAWAL_COMPLETED"


async def rotate(folder: Path, environ: dict[str, str]) -> tuple[int, dict[str, Any]]:
    code, printed = await offerhub(folder, "wallets", "rotate", "--batch", "1", "--json", **environ)
    return code, json.loads(printed)


async def test_the_wallet_key_is_replaced_while_money_moves(
    office_environ: dict[str, str], world: World, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    environ = {**office_environ, "LOG_LEVEL": "error"}
    async with running({**environ, **BEFORE}) as first:
        shop = await Marketplace.found(first, world, http)
        buyer, seller = await shop.people("500", None)
        await everything_signs(shop, buyer, seller)
        body = {"name": "kept", "scopes": ["read"]}
        kept = await shop.post("/auth/api-keys", body, key="kept-answer")
        assert kept.status == 201

    # 1 and 2: every process knows the new key, and still seals under the old one. 3: one by one they change over.
    async with running({**environ, **KNOWN}) as late, running({**environ, **CHANGED}) as early:
        assert set(await versions(late)) == {1}
        shop_early, shop_late = shop.on(early), shop.on(late)
        [new_buyer] = await shop_early.people("100")
        [new_seller] = await shop_late.people(None)
        assert set(await versions(late)) == {1, 2}
        # Whichever process it meets, money moves.
        await asyncio.gather(
            everything_signs(shop_late, new_buyer, seller), everything_signs(shop_early, buyer, new_seller)
        )

    # 4: every process has the new key; the command runs while money moves.
    async with running({**environ, **CHANGED}) as live:
        shop = shop.on(live)
        turning = asyncio.create_task(rotate(tmp_path, environ | CHANGED))
        rounds = 0
        while not turning.done() or not rounds:
            await everything_signs(shop, buyer, seller)
            rounds += 1
        code, report = await turning
        assert (code, report["remaining"], report["missingVersions"]) == (0, 0, []), report
        assert report["rotatedAnswers"] >= 1
        assert set(await versions(live)) == {2}

    # 5: the old key is gone.
    async with running({**environ, **AFTER}) as live:
        shop = shop.on(live)
        assert live.product.vault.keys.keys() == {2}
        await asyncio.gather(everything_signs(shop, buyer, new_seller), everything_signs(shop, new_buyer, seller))
        replayed = await shop.post("/auth/api-keys", body, key="kept-answer")
        assert replayed.headers["idempotency-replay"] == "true"
        assert replayed.body == kept.body
        await shop.assert_backed(buyer, seller, new_buyer, new_seller)
        await live.assert_books_hold()
