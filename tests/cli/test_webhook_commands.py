"""`offerhub webhooks` and `offerhub listen`, as a developer types them."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.command import offerhub, started
from support.outside import PATIENCE_SECONDS, eventually
from support.product import Marketplace, unique
from support.receiver import Receiver, Say, receiving


class Developer:
    """Somebody at a shell, with the key of a marketplace."""

    def __init__(self, folder: Path, shop: Marketplace) -> None:
        self.folder = folder
        self.variables = {"OFFERHUB_API_URL": shop.live.url, "OFFERHUB_API_KEY": shop.credential, "HOME": str(folder)}

    async def types(self, *words: str) -> tuple[int, str]:
        return await offerhub(self.folder, "webhooks", *words, **self.variables)

    async def hears(self, *words: str) -> Any:
        code, printed = await self.types(*words, "--json")
        assert code == 0, printed
        return json.loads(printed)


@pytest.fixture
def developer(tmp_path: Path, shop: Marketplace) -> Developer:
    return Developer(tmp_path, shop)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


async def test_an_endpoint_from_its_making_to_its_end(developer: Developer, receiver: Receiver) -> None:
    made = await developer.hears("create", receiver.url, "--events", "order.*,user.created", "--description", "main")
    assert made["eventTypes"] == ["order.*", "user.created"]
    rotated = await developer.hears("rotate-secret", made["id"], "--overlap-seconds", "0")
    tested = await developer.hears("test", made["id"])
    await receiver.until(1)
    assert receiver.got[0].is_signed_by(rotated["secret"])
    assert not receiver.got[0].is_signed_by(made["secret"])
    assert (await developer.hears("redeliver", made["id"], tested["id"]))["status"] == "PENDING"
    await receiver.until(2)
    code, printed = await developer.types("show", made["id"], tested["id"])
    assert (code, "webhook.test" in printed, "DELIVERED" in printed) == (0, True, True)
    code, printed = await developer.types("endpoints")
    assert (code, made["id"] in printed, "whsec_" in printed) == (0, True, False)
    assert (await developer.hears("delete", made["id"]))["status"] == "DELETED"


async def test_listening_hands_on_events_and_re_deliveries(
    developer: Developer, shop: Marketplace, receiver: Receiver
) -> None:
    """From an event on, to a server that is down at first; a re-delivery reaches it; in the end nothing is left."""
    before = [await shop.done("POST", "/users", {"externalUserId": unique("heard")}, status=201) for _ in range(2)]
    # An event can be named once it has its place in the log.
    sql = """
        SELECT e.id FROM events e JOIN event_log l ON l.event = e.position
        WHERE e.aggregate_id = $1 AND e.type = 'user.created'
    """
    named = [await eventually(lambda one=one: shop.live.rows(sql, one["id"]), bool) for one in before]
    first = named[0][0]["id"]
    words = ("listen", "--forward-to", receiver.url, "--events", "user.created", "--from", first)
    process = await started(developer.folder, *words, **developer.variables)
    assert process.stdout is not None
    try:
        head = [(await process.stdout.readline()).decode() for _ in range(2)]
        endpoint_id = head[0].split()[1]
        secret = head[1].split()[1]
        receiver.says = [Say(500)]
        got = await receiver.until(1)
        assert got[0].event["aggregateId"] == before[1]["id"]  # right behind the event that was named
        assert got[0].is_signed_by(secret)
        (delivery,) = await eventually(
            lambda: developer.hears("deliveries", endpoint_id), lambda found: found and found[0]["attempts"] == 1
        )
        await developer.hears("redeliver", endpoint_id, delivery["id"])
        got = await receiver.until(2)
        assert got[1].id == got[0].id
        after = await shop.done("POST", "/users", {"externalUserId": unique("heard")}, status=201)
        await eventually(
            lambda: asyncio.sleep(0, {one.event["aggregateId"] for one in receiver.got}),
            lambda found: after["id"] in found,
        )
    finally:
        process.send_signal(signal.SIGINT)
        printed = (await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS))[0].decode()
    assert process.returncode == 0, printed
    assert re.search(r"user\.created evt_\w+ -> 500", printed)
    assert "Traceback" not in printed
    status = "SELECT status FROM webhook_endpoints WHERE id = $1"
    assert await shop.live.value(status, endpoint_id) == "DELETED"
