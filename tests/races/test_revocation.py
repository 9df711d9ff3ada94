"""A key is revoked while it is being used, at every process: it stops when it is promised to, and halves nothing."""

import asyncio
import itertools

import pytest

from asgi_client import Heard
from offerhub.access.authenticator import CACHE_SECONDS
from support.long_runs import Tally, long_runs
from support.product import Marketplace
from support.racing import UNIT, credited

ROUNDS = 12 if long_runs() else 1
CALLERS = 8

pytestmark = pytest.mark.long_form


class Spending:
    """Callers that go on spending with their credential until it is refused although nothing else was possible."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.heard: list[tuple[float, Heard]] = []
        self.refused_after = float("inf")

    async def go_on(self, caller: Marketplace) -> None:
        """Until a request that was begun late enough is refused."""
        while True:
            begun = asyncio.get_running_loop().time()
            answer = await caller.post(self.path, {"amount": "1.00"})
            self.heard.append((begun, answer))
            if answer.status == 401 and begun > self.refused_after:
                return


async def test_a_revoked_key_moves_no_money_once_its_time_is_over(
    shop: Marketplace, elsewhere: Marketplace, tally: Tally
) -> None:
    """Whatever begins a second after the answer is refused, for tokens too; until then each request is whole."""
    for number in range(ROUNDS):
        person = await credited(shop, "")
        key = await shop.with_key("write", "read")
        key_id = (await key.done("GET", "/auth/me"))["apiKeyId"]
        token = (await shop.done("POST", f"/auth/api-keys/{key_id}/token", {"ttl": 600}, status=201))["token"]
        used = itertools.cycle((key, key.on(elsewhere.live), key.using(token), key.using(token).on(elsewhere.live)))
        spending = Spending(f"/users/{person.id}/balance/credit")
        callers = [asyncio.create_task(spending.go_on(next(used))) for _ in range(CALLERS)]
        while len(spending.heard) < 5 * CALLERS:
            await asyncio.sleep(0.01)
        await (shop if number % 2 else elsewhere).done("DELETE", f"/auth/api-keys/{key_id}")
        spending.refused_after = asyncio.get_running_loop().time() + CACHE_SECONDS
        await asyncio.gather(*callers)
        refused = [answer for _, answer in spending.heard if answer.status == 401]
        done = [begun for begun, answer in spending.heard if answer.status == 200]
        assert len(refused) + len(done) == len(spending.heard)
        assert {answer.code for answer in refused} == {"INVALID_API_KEY"}
        assert max(done) <= spending.refused_after
        assert await shop.units(person.id) == {"available": len(done) * UNIT}
        assert await shop.postings(person.id) == ["manual_credit"] * len(done)
        assert await shop.events(person.id) == ["user.created", *["balance.credited"] * len(done)]
        tally("races", len(spending.heard))
