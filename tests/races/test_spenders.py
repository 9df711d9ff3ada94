"""Simultaneous requests: money is spent once, whoever asks first."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from asgi_client import Heard
from support.product import Marketplace, Person, unique

UNIT = 10_000_000


def outcomes(heard: Sequence[Heard]) -> Counter[tuple[int, str]]:
    """How often each status and code was answered."""
    return Counter((one.status, one.code if one.status >= 400 else "") for one in heard)


async def credited(shop: Marketplace, amount: str) -> Person:
    """A user with a manual credit."""
    made = await shop.done("POST", "/users", {"externalUserId": unique("racer")}, status=201)
    person = Person(made["id"], made["wallet"]["publicKey"])
    if amount:
        await shop.credit(person, amount)
    return person


async def test_sixty_four_reservations_of_ten_against_a_hundred(shop: Marketplace) -> None:
    buyer, seller = await credited(shop, "100.00"), await credited(shop, "")
    orders = await asyncio.gather(*(shop.order(buyer, seller, "10.00") for _ in range(64)))
    heard = await asyncio.gather(*(shop.post(f"/orders/{order_id}/reserve") for order_id in orders))
    assert outcomes(heard) == {(200, ""): 10, (422, "INSUFFICIENT_FUNDS"): 54}
    assert await shop.units(buyer.id) == {"reserved": 100 * UNIT}
    reserved = await shop.done("GET", f"/orders?buyer_id={buyer.id}&status=FUNDS_RESERVED&limit=100")
    won = {order_id for order_id, one in zip(orders, heard, strict=True) if one.status == 200}
    assert {order["id"] for order in reserved} == won
    assert (await shop.events(buyer.id)).count("balance.reserved") == 10
    await shop.live.assert_books_hold()


async def test_one_order_is_reserved_once(shop: Marketplace) -> None:
    buyer, seller = await credited(shop, "100.00"), await credited(shop, "")
    order_id = await shop.order(buyer, seller, "10.00")
    heard = await asyncio.gather(*(shop.post(f"/orders/{order_id}/reserve") for _ in range(8)))
    assert outcomes(heard) == {(200, ""): 1, (409, "FUNDS_ALREADY_RESERVED"): 7}
    heard = await asyncio.gather(*(shop.post(f"/orders/{order_id}/cancel") for _ in range(8)))
    assert outcomes(heard) == {(200, ""): 1, (409, "INVALID_STATE"): 7}
    assert await shop.units(buyer.id) == {"available": 100 * UNIT}


async def test_debits_and_reservations_by_hand_share_one_balance(shop: Marketplace) -> None:
    person = await credited(shop, "10.00")
    path = f"/users/{person.id}/balance"
    calls = [shop.post(f"{path}/debit", {"amount": "1.00"}) for _ in range(12)]
    calls += [shop.post(f"{path}/reserve", {"amount": "1.00", "orderId": "job"}) for _ in range(12)]
    heard = await asyncio.gather(*calls)
    assert outcomes(heard) == {(200, ""): 10, (422, "INSUFFICIENT_FUNDS"): 14}
    held = sum(one.status == 200 for one in heard[12:])
    assert (await shop.units(person.id)).get("reserved", 0) == held * UNIT
    calls = [shop.post(f"{path}/cancel-reservation", {"amount": "1.00", "orderId": "job"}) for _ in range(12)]
    back = outcomes(await asyncio.gather(*calls))
    assert back[200, ""] == held
    assert back[422, "RESERVE_NOT_FOUND"] == 12 - held


async def test_users_who_pay_each_other_do_not_stand_in_each_other_s_way(shop: Marketplace) -> None:
    ann, ben = await credited(shop, "50.00"), await credited(shop, "50.00")
    for payer in (ann, ben):
        await shop.done("POST", f"/users/{payer.id}/balance/reserve", {"amount": "40.00", "orderId": "job"})
    calls = []
    for payer, payee in ((ann, ben), (ben, ann)) * 20:
        body = {"amount": "2.00", "orderId": "job", "sellerId": payee.id}
        calls.append(shop.post(f"/users/{payer.id}/balance/release", body))
    assert outcomes(await asyncio.gather(*calls)) == {(200, ""): 40}
    for person in (ann, ben):
        assert await shop.units(person.id) == {"available": 50 * UNIT}


async def test_release_refund_and_dispute_at_once(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    orders = await asyncio.gather(*(shop.order(*pair, "10.00", "IN_PROGRESS") for _ in range(4)))
    sold = (await shop.units(pair[1].id)).get("available", 0)
    ends: Counter[str] = Counter()
    for turn, order_id in enumerate(orders):
        path = f"/orders/{order_id}/resolution"
        moves: list[tuple[str, Any]] = [
            ("release", {}),
            ("refund", {"reason": "r"}),
            ("dispute", {"openedBy": "BUYER", "reason": "OTHER"}),
        ]
        moves = moves[turn % 3 :] + moves[: turn % 3]
        heard = await asyncio.gather(*(shop.post(f"{path}/{move}", body) for move, body in moves * 2))
        won = [one for one in heard if one.status < 300]
        assert len(won) == 1, outcomes(heard)
        for lost in heard:
            assert lost.status < 300 or lost.code in ("INVALID_STATE", "DISPUTE_ALREADY_OPEN"), lost.body
        order = await shop.done("GET", f"/orders/{order_id}")
        ends[order["finalStatus"] or order["status"]] += 1
        payouts = [kind for kind in await shop.postings(order_id) if kind in ("released", "refunded")]
        assert len(payouts) == (0 if order["status"] == "DISPUTED" else 1)
        assert await shop.units(order_id) == ({"escrow": 10 * UNIT} if order["status"] == "DISPUTED" else {})
    assert (await shop.units(pair[1].id)).get("available", 0) - sold == ends["RELEASED"] * 99_700_000
    assert sum(ends.values()) == 4
    await shop.assert_backed(*pair)


async def test_funding_twice_at_once(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    order_id = await shop.order(*pair, "10.00", "FUNDS_RESERVED")
    heard = await asyncio.gather(*(shop.post(f"/orders/{order_id}/escrow") for _ in range(4)))
    assert outcomes(heard) == {(200, ""): 1, (409, "ESCROW_ALREADY_EXISTS"): 3}
    heard = await asyncio.gather(*(shop.post(f"/orders/{order_id}/escrow/fund") for _ in range(4)))
    assert sum(one.status == 200 for one in heard) == 1
    assert {one.code for one in heard if one.status != 200} <= {"INVALID_STATE", "ESCROW_NOT_READY"}
    assert await shop.units(order_id) == {"escrow": 10 * UNIT}
    await shop.assert_backed(pair[0])


async def test_funding_and_cancelling_at_once(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    before = (await shop.units(pair[0].id))["available"]
    orders = await asyncio.gather(*(shop.order(*pair, "3.00", "ESCROW_FUNDING") for _ in range(4)))
    funded = 0
    for turn, order_id in enumerate(orders):
        moves = ("escrow/fund", "cancel") if turn % 2 else ("cancel", "escrow/fund")
        heard = await asyncio.gather(*(shop.post(f"/orders/{order_id}/{move}") for move in moves))
        assert sorted(one.status for one in heard) == [200, 409], outcomes(heard)
        assert {one.code for one in heard if one.status == 409} <= {"INVALID_STATE", "ESCROW_NOT_READY"}
        status = (await shop.done("GET", f"/orders/{order_id}"))["status"]
        assert await shop.units(order_id) == ({"escrow": 3 * UNIT} if status == "IN_PROGRESS" else {})
        funded += status == "IN_PROGRESS"
    assert before - (await shop.units(pair[0].id))["available"] == funded * 3 * UNIT
    await shop.assert_backed(pair[0])


async def test_many_orders_of_one_buyer_are_funded_one_transaction_at_a_time(
    shop: Marketplace, pair: tuple[Person, Person]
) -> None:
    """One wallet has one sequence number after the other; nobody's envelope pushes out another's."""
    orders = await asyncio.gather(*(shop.order(*pair, "1.00", "IN_PROGRESS") for _ in range(6)))
    sql = """
        SELECT count(*) AS envelopes, count(DISTINCT e.sequence) AS sequences
        FROM envelopes e JOIN sagas g ON g.id = e.saga_id WHERE g.subject_id = ANY($1)
    """
    [row] = await shop.live.rows(sql, list(orders))
    assert (row["envelopes"], row["sequences"]) == (12, 12)
    await shop.assert_backed(pair[0])


async def test_two_withdrawals_of_the_whole_balance(shop: Marketplace) -> None:
    [person] = await shop.people("50")
    target, _ = await shop.world.outside_wallet()
    body = {"userId": person.id, "amount": "50.00", "destinationType": "crypto", "destinationRef": target}
    heard = await asyncio.gather(*(shop.post("/withdrawals", body) for _ in range(2)))
    assert outcomes(heard) == {(201, ""): 1, (422, "INSUFFICIENT_FUNDS"): 1}
    assert await shop.on_chain(target) == 50 * UNIT
    assert await shop.units(person.id) == {}
    assert len(await shop.done("GET", f"/withdrawals?userId={person.id}")) == 1


async def test_an_escrow_and_a_withdrawal_want_the_same_money(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    [buyer] = await shop.people("50")
    order_id = await shop.order(buyer, pair[1], "50.00")
    target, _ = await shop.world.outside_wallet()
    body = {"userId": buyer.id, "amount": "0.01", "destinationType": "crypto", "destinationRef": target}
    heard = await asyncio.gather(shop.post(f"/orders/{order_id}/reserve"), shop.post("/withdrawals", body))
    assert sorted(one.status < 300 for one in heard) == [False, True]
    assert {one.code for one in heard if one.status >= 400} == {"INSUFFICIENT_FUNDS"}
    await shop.assert_backed(buyer)


async def test_one_external_id_is_one_user(shop: Marketplace) -> None:
    body = {"externalUserId": unique("same")}
    heard = await asyncio.gather(*(shop.post("/users", body) for _ in range(20)))
    assert outcomes(heard) == {(201, ""): 1, (200, ""): 19}
    assert len({one.data["id"] for one in heard}) == 1
    assert len({one.data["wallet"]["publicKey"] for one in heard}) == 1
    assert await shop.events(heard[0].data["id"]) == ["user.created"]


async def test_one_client_reference_is_one_order(shop: Marketplace) -> None:
    buyer, seller = await credited(shop, ""), await credited(shop, "")
    parties = {"buyer_id": buyer.id, "seller_id": seller.id, "title": "t", "amount": "1.00"}
    body = {**parties, "client_order_ref": unique("ref"), "milestones": [{"ref": "a", "title": "A"}]}
    heard = await asyncio.gather(*(shop.post("/orders", body) for _ in range(12)))
    assert outcomes(heard) == {(201, ""): 1, (200, ""): 11}
    assert len({one.data["id"] for one in heard}) == 1


async def test_one_idempotency_key_is_one_credit(shop: Marketplace) -> None:
    person = await credited(shop, "")
    path, body = f"/users/{person.id}/balance/credit", {"amount": "5.00"}
    heard = await asyncio.gather(*(shop.post(path, body, key="race") for _ in range(20)))
    found = outcomes(heard)
    assert found[200, ""] >= 1
    assert found[200, ""] + found[409, "IDEMPOTENCY_KEY_IN_PROGRESS"] == 20
    assert len({one.body for one in heard if one.status == 200}) == 1
    assert {one.headers.get("retry-after") for one in heard if one.status == 409} <= {"1"}
    assert await shop.balance(person) == ("5.00", "0.00")
    assert await shop.postings(person.id) == ["manual_credit"]


async def test_credits_without_a_key_all_count(shop: Marketplace) -> None:
    person = await credited(shop, "")
    path = f"/users/{person.id}/balance/credit"
    heard = await asyncio.gather(*(shop.post(path, {"amount": "0.01"}) for _ in range(40)))
    assert outcomes(heard) == {(200, ""): 40}
    assert {one.data["newBalance"]["available"] for one in heard} == {f"0.{cents:02d}" for cents in range(1, 41)}
