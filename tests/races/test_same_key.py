"""One idempotency key at two processes at once: one effect, and one answer for all."""

import asyncio
import itertools

import pytest

from support.long_runs import Tally, long_runs
from support.outside import World
from support.product import Marketplace, Person, unique
from support.racing import UNIT, at_once, credited, outcomes

ROUNDS = 40 if long_runs() else 1

pytestmark = pytest.mark.long_form


async def test_one_idempotency_key_is_one_credit(shop: Marketplace, elsewhere: Marketplace, tally: Tally) -> None:
    person = await credited(shop, "")
    path, body = f"/users/{person.id}/balance/credit", {"amount": "5.00"}
    for number in range(ROUNDS):
        key = unique("race")
        at = itertools.cycle((shop, elsewhere))
        heard = await at_once(*(next(at).post(path, body, key=key) for _ in range(20)))
        found = outcomes(heard)
        assert found[200, ""] >= 1
        assert found[200, ""] + found[409, "IDEMPOTENCY_KEY_IN_PROGRESS"] == 20
        assert {one.headers.get("retry-after") for one in heard if one.status == 409} <= {"1"}
        again = [await one.post(path, body, key=key) for one in (shop, elsewhere)]
        assert len({one.body for one in [*heard, *again] if one.status == 200}) == 1
        assert {one.status for one in again} == {200}
        assert await shop.balance(person) == (f"{5 * (number + 1)}.00", "0.00")
        tally("races", 20)
    assert await shop.postings(person.id) == ["manual_credit"] * ROUNDS


async def test_one_idempotency_key_is_one_payment(
    shop: Marketplace, elsewhere: Marketplace, world: World, tally: Tally
) -> None:
    """The first one starts what reaches outside; whoever comes with the key meanwhile waits along for its end."""
    [person] = await shop.people("200")
    for number in range(1, min(ROUNDS, 10) + 1):
        target, _ = await world.outside_wallet()
        body = {"userId": person.id, "amount": "20.00", "destinationType": "crypto", "destinationRef": target}
        key = unique("race")
        at = itertools.cycle((elsewhere, shop))

        async def ask(caller: Marketplace, key: str = key, body: dict[str, str] = body) -> tuple[int, bytes]:
            while (heard := await caller.post("/withdrawals", body, key=key)).status == 409:
                assert heard.code == "IDEMPOTENCY_KEY_IN_PROGRESS"
                await asyncio.sleep(0.05)
            return heard.status, heard.body

        answers = set(await asyncio.gather(*(ask(next(at)) for _ in range(12))))
        assert len(answers) == 1, answers
        assert answers.pop()[0] == 201
        assert await shop.on_chain(target) == 20 * UNIT
        assert await shop.units(person.id) == {"available": (200 - 20 * number) * UNIT} or number == 10
        tally("races", 12)
    await shop.assert_backed(person)


async def test_one_key_for_two_requests_is_refused_to_one_of_them(
    shop: Marketplace, elsewhere: Marketplace, tally: Tally
) -> None:
    for _ in range(ROUNDS):
        person = await credited(shop, "")
        path, key = f"/users/{person.id}/balance/credit", unique("race")
        bodies = [{"amount": "5.00"}, {"amount": "7.00"}] * 6
        heard = await at_once(*(one.post(path, body, key=key) for body in bodies for one in (shop, elsewhere)))
        found = outcomes(heard)
        assert set(found) <= {(200, ""), (409, "IDEMPOTENCY_KEY_IN_PROGRESS"), (409, "IDEMPOTENCY_KEY_REUSED")}
        [amount] = {one.data["amount"] for one in heard if one.status == 200}
        assert await shop.balance(person) == (amount, "0.00")
        refused = bodies[0] if amount == "7.00" else bodies[1]
        await elsewhere.refused("POST", path, refused, status=409, code="IDEMPOTENCY_KEY_REUSED", key=key)
        tally("races", len(heard))


async def test_one_external_id_is_one_user(shop: Marketplace, elsewhere: Marketplace) -> None:
    body = {"externalUserId": unique("same")}
    heard = await at_once(*(one.post("/users", body) for one in [shop, elsewhere] * 10))
    assert outcomes(heard) == {(201, ""): 1, (200, ""): 19}
    assert len({one.data["id"] for one in heard}) == 1
    assert len({one.data["wallet"]["publicKey"] for one in heard}) == 1
    assert await shop.events(heard[0].data["id"]) == ["user.created"]


async def test_one_client_reference_is_one_order(shop: Marketplace, elsewhere: Marketplace) -> None:
    buyer: Person = await credited(shop, "")
    seller: Person = await credited(shop, "")
    parties = {"buyer_id": buyer.id, "seller_id": seller.id, "title": "t", "amount": "1.00"}
    body = {**parties, "client_order_ref": unique("ref"), "milestones": [{"ref": "a", "title": "A"}]}
    heard = await at_once(*(one.post("/orders", body) for one in [shop, elsewhere] * 6))
    assert outcomes(heard) == {(201, ""): 1, (200, ""): 11}
    assert len({one.data["id"] for one in heard}) == 1
