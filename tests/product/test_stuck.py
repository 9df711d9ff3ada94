"""What is stuck, as whoever runs the installation learns of it: by the API and at the shell."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.escrows.jobs import compare_escrows
from support.command import offerhub
from support.damage import damage
from support.outside import World, eventually
from support.product import MASTER_KEY, Marketplace, Running

pytestmark = pytest.mark.usefixtures("mended")


@pytest.fixture
def operator(live: Running, world: World, http: aiohttp.ClientSession) -> Marketplace:
    """Whoever runs the installation."""
    return Marketplace(live, world, http, DEFAULT_MARKETPLACE_ID, MASTER_KEY)


async def stuck(operator: Marketplace, shop: Marketplace, query: str = "") -> dict[str, dict[str, Any]]:
    """What is stuck of a marketplace, by the id of each."""
    told = await operator.done("GET", f"/admin/stuck?marketplaceId={shop.id}{query}")
    return {one["id"]: one for one in told["items"]}


async def age(shop: Marketplace, table: str, resource_id: str, span: str) -> None:
    """Let a resource have been in its state for longer."""
    await shop.live.product.database.run(
        lambda tx: tx.execute(
            f"UPDATE {table} SET state_since = state_since - $2::text::interval WHERE id = $1", resource_id, span
        )
    )


async def test_money_that_waits_for_the_marketplace_is_told_once_its_time_is_over(
    shop: Marketplace, operator: Marketplace, tmp_path: Path
) -> None:
    buyer, seller = await shop.people("100", None)
    order_id = await shop.order(buyer, seller, "25.00", "FUNDS_RESERVED")
    assert await stuck(operator, shop) == {}
    await age(shop, "orders", order_id, "8 days")
    [found] = (await stuck(operator, shop)).values()
    assert (found["type"], found["id"], found["orderId"], found["state"]) == (
        *("Order", order_id, order_id),
        "FUNDS_RESERVED",
    )
    assert (found["amount"], found["waitsFor"], found["nextStepAt"]) == ("25.00", "MARKETPLACE", None)
    assert found["ageSeconds"] >= 8 * 86_400 > found["budgetSeconds"] == 7 * 86_400
    assert await stuck(operator, shop, "&type=Dispute") == {}

    shell = {"OFFERHUB_API_URL": shop.live.url, "OFFERHUB_API_KEY": MASTER_KEY, "HOME": str(tmp_path)}
    asked = ("stuck", "--marketplace", shop.id)
    code, printed = await offerhub(tmp_path, *asked, **shell)
    assert code == 1
    for word in ("FUNDS_RESERVED", "8 d", "25.00", "MARKETPLACE", "autoCancelUnfundedAfterHours"):
        assert word in printed
    code, printed = await offerhub(tmp_path, *asked, "--json", **shell)
    assert (code, json.loads(printed)["items"][0]["id"]) == (1, order_id)

    await shop.done("POST", f"/orders/{order_id}/cancel")
    code, printed = await offerhub(tmp_path, *asked, **shell)
    assert (code, printed.strip()) == (0, "nothing is stuck")


async def test_what_a_saga_waits_for_is_its_cause_with_the_next_try(
    shop: Marketplace, operator: Marketplace, world: World
) -> None:
    buyer, seller = await shop.people("100", None)
    order_id = await shop.order(buyer, seller, "30.00", "IN_PROGRESS")
    await age(shop, "orders", order_id, "61 days")
    assert [one["type"] for one in (await stuck(operator, shop)).values()] == ["Order"]
    await world.fault("trustless_work", "/helper/send-transaction", "error_before")
    await world.fault("horizon", "/transactions", "error_before")
    releasing = asyncio.create_task(shop.post(f"/orders/{order_id}/resolution/release"))
    escrow_id = await shop.live.value("SELECT id FROM escrows WHERE order_id = $1", order_id)
    waiting = """
        SELECT count(*) FROM sagas g JOIN saga_steps s ON s.saga_id = g.id
        WHERE g.subject_id = $1 AND s.last_error IS NOT NULL AND s.status <> 'SETTLED' AND g.status = 'RUNNING'
    """
    await eventually(lambda: shop.live.value(waiting, order_id), lambda count: count == 1)
    assert await stuck(operator, shop) == {}, "a new state has its own time"
    await age(shop, "escrows", escrow_id, "16 minutes")
    [found] = (await stuck(operator, shop)).values()
    assert (found["type"], found["id"], found["orderId"]) == ("Escrow", escrow_id, order_id)
    assert (found["state"], found["waitsFor"], found["amount"]) == ("RELEASING", "SYSTEM", "30.00")
    assert "Its last error:" in found["cause"]
    assert found["sagaId"].startswith("sga_")
    assert found["nextStepAt"] is not None
    await world.mend()

    async def order() -> str:
        return str((await shop.done("GET", f"/orders/{order_id}"))["status"])

    await eventually(order, lambda status: status == "CLOSED")
    await releasing
    assert await stuck(operator, shop) == {}


async def test_jobs_and_webhooks_are_told_too(shop: Marketplace, operator: Marketplace) -> None:
    database = shop.live.product.database
    await database.run(
        lambda tx: tx.execute(
            """
            INSERT INTO webhook_events (provider, event_id, event_type, status, outcome, received_at)
            VALUES ('AIRTM', 'msg_stuck', 'payin.confirmed', 'FAILED', 'no payin', now() - interval '1 hour')
            """
        )
    )
    await database.run(
        lambda tx: tx.execute(
            """
            INSERT INTO outbox (queue, name, payload, created_at, due_at, enqueued_at, enqueued)
            VALUES ('sagas', 'stuck', '{}', now() - interval '1 hour', now() - interval '1 hour',
                now() + interval '1 hour', 3)
            """
        )
    )
    items = (await operator.done("GET", "/admin/stuck"))["items"]
    by_type = {one["type"]: one for one in items if one["type"] in ("WebhookEvent", "Job")}
    assert by_type["WebhookEvent"]["id"] == "AIRTM msg_stuck"
    assert "no payin" in by_type["WebhookEvent"]["cause"]
    assert "sagas stuck, handed over 3 times" in by_type["Job"]["cause"]
    assert by_type["Job"]["waitsFor"] == "OPERATOR"
    await database.run(lambda tx: tx.execute("DELETE FROM outbox WHERE name = 'stuck'"))
    await database.run(lambda tx: tx.execute("DELETE FROM webhook_events WHERE event_id = 'msg_stuck'"))
    await operator.refused("GET", "/admin/stuck?limit=0", status=400, code="VALIDATION_ERROR")
    await operator.refused("GET", "/admin/stuck?type=Nothing", status=400, code="VALIDATION_ERROR")


async def test_findings_at_the_shell(shop: Marketplace, operator: Marketplace, tmp_path: Path) -> None:
    buyer, seller = await shop.people("100", None)
    order_id = await shop.order(buyer, seller, "10.00", "IN_PROGRESS")
    escrow_id = await shop.live.value("SELECT id FROM escrows WHERE order_id = $1", order_id)
    made = shop.live.product
    grow = "UPDATE escrows SET amount = amount + $2 WHERE id = $1"
    await damage(made.database, grow, escrow_id, 50_000_000)

    async def compare() -> None:
        # What the job does, without waiting until the escrow is stale.
        await compare_escrows(
            *(made.database, made.trustless_work, made.engine, made.clock),
            limit=1000,
            stale_seconds=0,
            pause_seconds=0,
        )

    await compare()
    shell = {"OFFERHUB_API_URL": shop.live.url, "OFFERHUB_API_KEY": MASTER_KEY, "HOME": str(tmp_path)}

    async def types(*words: str) -> tuple[int, str]:
        return await offerhub(tmp_path, "reconcile", *words, **shell)

    listed = ("findings", "--marketplace", shop.id)
    code, printed = await types(*listed, "--json")
    [found] = json.loads(printed)
    assert (code, found["kind"], found["amount"]) == (1, "OTHER_TERMS", "-5.00")
    code, printed = await types("show", found["id"])
    assert code == 0
    for word in ("security incident", "-5.00", '"contractBalance": "10.0000000"', escrow_id):
        assert word in printed
    code, printed = await types("acknowledge", found["id"], "--reason", "we did it")
    assert (code, printed.strip()) == (0, f"{found['id']} ACKNOWLEDGED")
    code, printed = await types(*listed)
    assert (code, "OTHER_TERMS" in printed, "ACKNOWLEDGED" in printed) == (0, True, True)
    code, printed = await types("resolve", found["id"], "--reason", "put right")
    assert (code, printed.strip()) == (0, f"{found['id']} RESOLVED")
    await damage(made.database, grow, escrow_id, -50_000_000)
    await compare()
    code, printed = await types(*listed, "--all", "--json")
    assert (code, [one["status"] for one in json.loads(printed)]) == (0, ["RESOLVED"])
    code, printed = await types("run", "sync-escrows", "--json")
    assert (code, json.loads(printed)["job"]) == (0, "sync-escrows")
    code, printed = await types("runs", "--job", "sync-escrows")
    assert (code, "sync-escrows" in printed) == (0, True)
