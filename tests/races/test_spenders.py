"""Simultaneous requests: money is spent once, whoever asks first."""

import asyncio
import itertools
import sys
from collections import Counter
from typing import Any

import pytest

from offerhub.runtime import database
from support.long_runs import Tally, long_runs
from support.outside import World
from support.product import Marketplace, Person, unique
from support.racing import UNIT, at_once, credited, in_contract, outcomes

ROUNDS = 24 if long_runs() else 1
ORDERS = 60 if long_runs() else 3

pytestmark = pytest.mark.long_form


@pytest.fixture
def repeats(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Why transactions had to be run again: for a deadlock, for instance."""
    reasons: list[str] = []

    def pause(seconds: float) -> float:
        error = sys.exc_info()[1]
        reasons.append(f"{error!r}: {getattr(error, 'detail', '')}")
        return seconds

    monkeypatch.setattr(database, "jitter", pause)
    return reasons


async def test_sixty_four_spenders_of_all_kinds_share_what_is_there(
    shop: Marketplace, elsewhere: Marketplace, world: World, tally: Tally
) -> None:
    """Orders, withdrawals, debits and holds by hand, at two processes: ten fit, and nothing else is ever said."""
    seller = await credited(shop, "")
    target, _ = await world.outside_wallet()
    for number in range(ROUNDS):
        [person] = await shop.people("100")
        path = f"/users/{person.id}/balance"
        orders = await asyncio.gather(*(shop.order(person, seller, "10.00") for _ in range(16)))
        out = {"userId": person.id, "amount": "10.00", "destinationType": "crypto", "destinationRef": target}
        at = itertools.cycle((shop, elsewhere))
        kinds = {
            "order": [next(at).post(f"/orders/{order}/reserve") for order in orders],
            "withdrawal": [next(at).post("/withdrawals", out) for _ in range(16)],
            "debit": [next(at).post(f"{path}/debit", {"amount": "10.00"}) for _ in range(16)],
            "hold": [next(at).post(f"{path}/reserve", {"amount": "10.00", "orderId": "job"}) for _ in range(16)],
        }
        names = list(kinds)[number % 4 :] + list(kinds)[: number % 4]
        mixed = [
            (name, call)
            for calls in zip(*(kinds[name] for name in names), strict=True)
            for name, call in zip(names, calls, strict=True)
        ]
        heard = await at_once(*(call for _, call in mixed))
        found = Counter(name for (name, _), one in zip(mixed, heard, strict=True) if one.status < 300)
        refused = {(one.status, one.code) for one in heard if one.status >= 300}
        assert refused == {(422, "INSUFFICIENT_FUNDS")}, outcomes(heard)
        assert sum(found.values()) == 10
        held = 10 * UNIT * (found["order"] + found["hold"])
        assert await shop.units(person.id) == ({"reserved": held} if held else {})
        assert (await shop.events(person.id)).count("balance.reserved") == found["order"] + found["hold"]
        assert await shop.on_chain(person.address) == 100 * UNIT - found["withdrawal"] * 10 * UNIT
        taken = [shop.post(f"{path}/deduct-reserved", {"amount": "10.00", "orderId": "job"}) for _ in range(16)]
        back = outcomes(await at_once(*taken))
        wanted = {(200, ""): found["hold"], (422, "RESERVE_NOT_FOUND"): 16 - found["hold"]}
        assert back == {what: count for what, count in wanted.items() if count}
        tally("races", 80)


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


async def test_users_who_pay_each_other_do_not_stand_in_each_other_s_way(
    shop: Marketplace, elsewhere: Marketplace, repeats: list[str], tally: Tally
) -> None:
    """Each transfer goes alone and locks its accounts in one order: nothing has to be run again."""
    ann, ben = await credited(shop, "50.00"), await credited(shop, "50.00")
    for payer in (ann, ben):
        await shop.done("POST", f"/users/{payer.id}/balance/reserve", {"amount": "40.00", "orderId": "job"})
    at = itertools.cycle((shop, elsewhere, elsewhere, shop))
    for _ in range(ROUNDS):
        calls = []
        for payer, payee in ((ann, ben), (ben, ann)) * 20:
            body = {"amount": "2.00", "orderId": "job", "sellerId": payee.id}
            calls.append(next(at).post(f"/users/{payer.id}/balance/release", body))
        assert outcomes(await at_once(*calls)) == {(200, ""): 40}
        for person in (ann, ben):
            assert await shop.units(person.id) == {"available": 50 * UNIT}
            hold = {"amount": "40.00", "orderId": "job"}
            await shop.done("POST", f"/users/{person.id}/balance/reserve", hold)
        tally("races", 40)
    assert repeats == []


async def test_release_refund_and_dispute_at_once(
    shop: Marketplace, elsewhere: Marketplace, pair: tuple[Person, Person], tally: Tally
) -> None:
    """One of them wins, at whichever process, and the contract pays once or not at all."""
    orders: list[str] = []
    for _ in range(ORDERS // 3):
        # One wallet makes one transaction after the other: more would wait longer than a request does.
        orders += await asyncio.gather(*(shop.order(*pair, "10.00", "IN_PROGRESS") for _ in range(3)))
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
        at = itertools.cycle((shop, elsewhere, elsewhere, shop, elsewhere))
        heard = await at_once(*(next(at).post(f"{path}/{move}", body) for move, body in moves * 2))
        won = [one for one in heard if one.status < 300]
        assert len(won) == 1, outcomes(heard)
        for lost in heard:
            assert lost.status < 300 or lost.code in ("INVALID_STATE", "DISPUTE_ALREADY_OPEN"), lost.body
        order = await shop.done("GET", f"/orders/{order_id}")
        ends[order["finalStatus"] or order["status"]] += 1
        payouts = [kind for kind in await shop.postings(order_id) if kind in ("released", "refunded")]
        assert len(payouts) == (0 if order["status"] == "DISPUTED" else 1)
        assert await shop.units(order_id) == ({"escrow": 10 * UNIT} if order["status"] == "DISPUTED" else {})
        held = await in_contract(shop.world, order["escrow"]["contractId"])
        assert held == (10 * UNIT if order["status"] == "DISPUTED" else 0)
        tally("races", len(heard))
    assert (await shop.units(pair[1].id)).get("available", 0) - sold == ends["RELEASED"] * 99_700_000
    assert sum(ends.values()) == ORDERS
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
    orders = await asyncio.gather(*(shop.order(*pair, "1.00", "IN_PROGRESS") for _ in range(4)))
    sql = """
        SELECT count(*) AS envelopes, count(DISTINCT e.sequence) AS sequences
        FROM envelopes e JOIN sagas g ON g.id = e.saga_id WHERE g.subject_id = ANY($1)
    """
    [row] = await shop.live.rows(sql, list(orders))
    assert (row["envelopes"], row["sequences"]) == (8, 8)
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


async def test_credits_without_a_key_all_count(shop: Marketplace) -> None:
    person = await credited(shop, "")
    path = f"/users/{person.id}/balance/credit"
    heard = await asyncio.gather(*(shop.post(path, {"amount": "0.01"}) for _ in range(40)))
    assert outcomes(heard) == {(200, ""): 40}
    assert {one.data["newBalance"]["available"] for one in heard} == {f"0.{cents:02d}" for cents in range(1, 41)}
