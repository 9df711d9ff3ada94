"""Requests that the database performs together: each has its own effect and answer, whatever befalls the others."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offerhub.balances import service
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import UNITS_MAX, format_amount
from offerhub.runtime.actor import Actor
from offerhub.runtime.statements import as_format, place
from support.product import Marketplace, Person, unique

TOGETHER = 60
UNIT = 10_000_000


async def user(shop: Marketplace) -> Person:
    made = await shop.done("POST", "/users", {"externalUserId": unique("together")}, status=201)
    return Person(made["id"], made["wallet"]["publicKey"])


async def test_many_at_once_on_one_balance_all_count(shop: Marketplace) -> None:
    alice = await user(shop)
    path, amounts = f"/users/{alice.id}/balance/credit", [f"{number}.01" for number in range(TOGETHER)]
    heard = await asyncio.gather(*(shop.post(path, {"amount": amount}, key=unique("credit")) for amount in amounts))
    assert {one.status for one in heard} == {200}
    assert sorted(one.data["amount"] for one in heard) == sorted(amounts)
    after = sorted((one.data for one in heard), key=lambda data: float(data["available"]))
    previous = ["0.00", *(data["available"] for data in after)]
    assert [data["previousBalance"]["available"] for data in after] == previous[:-1], "one after the other"
    assert await shop.units(alice.id) == {"available": sum(range(TOGETHER)) * UNIT + TOGETHER * UNIT // 100}
    told = [event for event in await shop.events(alice.id) if event == "balance.credited"]
    assert len(told) == TOGETHER
    await shop.live.assert_books_hold()


async def test_what_is_refused_does_not_spoil_what_goes_with_it(shop: Marketplace) -> None:
    people = [await user(shop) for _ in range(6)]
    rich = people[::2]
    for person in rich:
        await shop.credit(person, "10.00")
    asked = [(person, number) for person in (*people, Person("usr_unknown", "")) for number in range(3)]
    heard = await asyncio.gather(
        *(shop.post(f"/users/{person.id}/balance/debit", {"amount": "4.00"}, key=unique("k")) for person, _ in asked)
    )
    for person in people:
        statuses = sorted(one.status for (whose, _), one in zip(asked, heard, strict=True) if whose is person)
        assert statuses == ([200, 200, 422] if person in rich else [422, 422, 422])
        assert await shop.balance(person) == (("2.00" if person in rich else "0.00"), "0.00")
    assert {one.status for (whose, _), one in zip(asked, heard, strict=True) if whose.id == "usr_unknown"} == {404}
    await shop.live.assert_books_hold()


async def test_one_key_many_times_at_once_has_one_effect(shop: Marketplace) -> None:
    alice, key = await user(shop), unique("once")
    path = f"/users/{alice.id}/balance/credit"
    heard = await asyncio.gather(*(shop.post(path, {"amount": "7.00"}, key=key) for _ in range(20)))
    done = [one for one in heard if one.status == 200]
    assert done
    assert {one.json["error"]["code"] for one in heard if one not in done} <= {"IDEMPOTENCY_KEY_IN_PROGRESS"}
    assert len({one.body for one in done}) == 1
    assert len([one for one in done if "idempotency-replay" not in one.headers]) == 1
    assert await shop.balance(alice) == ("7.00", "0.00")
    again = await shop.post(path, {"amount": "7.00"}, key=key)
    assert (again.status, again.body, again.headers["idempotency-replay"]) == (200, done[0].body, "true")


def asked(shop: Marketplace, user_id: str, units: int) -> dict[str, Any]:
    """A credit of so many units, or a debit, as the edge hands it to the database."""
    actor = Actor(shop.id, "api_key", "key_of_nobody", "a test")
    what = service.credit if units > 0 else service.debit
    statement = what(actor, user_id, service.Manual(abs(units), None, None))
    answer = as_format(msgspec.json.encode(statement.answer).decode())
    return {"use_case": statement.use_case, "request": {**statement.request, "answer": answer}}


async def performed(shop: Marketplace, *requests: dict[str, Any]) -> list[dict[str, Any] | None]:
    """What the database answers to each."""
    text = msgspec.json.encode(requests).decode()
    database = shop.live.product.database
    rows = await database.statement("SELECT answer FROM perform($1)", text, rings=set())
    return [None if row["answer"] is None else json.loads(row["answer"]) for row in rows]


async def history(shop: Marketplace, user_id: str) -> list[tuple[Any, ...]]:
    """What was posted on a user's available balance, and the account in the end."""
    rows = await shop.live.rows(
        """
        SELECT p.amount, p.account_version, p.balance_after, t.kind, a.balance, a.version
        FROM ledger.accounts a JOIN ledger.postings p ON p.account_id = a.id
        JOIN ledger.transactions t ON t.id = p.transaction_id
        WHERE a.owner = $1 AND a.kind = 'available' ORDER BY p.account_version
        """,
        user_id,
    )
    return [tuple(row.values()) for row in rows]


MOVES: dict[str, list[tuple[int, int]]] = {
    "one for each": [(0, 5), (1, 7), (2, -3)],
    "many for one": [(0, 5), (0, -15), (0, 1), (0, 1), (0, -2)],
    "mixed": [(0, 5), (0, -10), (1, 1), (2, -10), (2, 4), (2, -4)],
    "more than there is in between": [(0, -8), (0, -8), (0, 20), (1, 1)],
    "more than there is": [(0, -11), (1, 3)],
    "nobody": [(0, 5), (3, 1), (1, 1)],
}
"""Who, of three users with ten units each, gets or gives how many."""
ONE_BY_ONE = {"more than there is in between", "more than there is", "nobody"}


@pytest.mark.parametrize("name", MOVES)
async def test_all_at_once_is_as_one_by_one(shop: Marketplace, name: str) -> None:
    together, apart = [[(await user(shop)).id for _ in range(3)] for _ in range(2)]
    for one in (*together, *apart):
        await performed(shop, asked(shop, one, 10 * UNIT))
    together.append("usr_nobody")
    apart.append("usr_nobody")
    moves = [(whose, units * UNIT) for whose, units in MOVES[name]]
    requests = [asked(shop, together[whose], units) for whose, units in moves]
    told = []
    for answers in (
        await performed(shop, *requests),
        [(await performed(shop, asked(shop, apart[whose], units)))[0] for whose, units in moves],
    ):
        parts = ("operation", "amount", "previousBalance", "newBalance", "available", "reserved")
        told.append([answer and {part: answer[part] for part in parts} for answer in answers])
    assert told[0] == told[1]
    assert (None in told[0]) == (name in ONE_BY_ONE)
    for number in range(3):
        assert await history(shop, together[number]) == await history(shop, apart[number])
        assert await shop.events(together[number]) == await shop.events(apart[number])
    await shop.live.assert_books_hold()

    more = msgspec.json.encode([asked(shop, together[whose], 1) for whose in (0, 1, 0)]).decode()
    sql = "SELECT cardinality(answers) FROM move_by_hand_all($1::text::jsonb)"
    assert await shop.live.product.database.run(lambda tx: tx.value(sql, more)) == 3, (
        "it is what `perform` tries first"
    )


async def test_many_new_users_and_orders_at_once(shop: Marketplace) -> None:
    """Two ask for one user, two for one order, and one for an order of nobody's: the others are none the worse."""
    names = [unique("at-once") for _ in range(10)]
    wanted = [*names, names[3]]
    heard = await asyncio.gather(*(shop.post("/users", {"externalUserId": name}, key=unique("u")) for name in wanted))
    assert sorted(one.status for one in heard) == [200] + [201] * 10
    ids = {name: one.data["id"] for name, one in zip(wanted, heard, strict=True)}
    assert heard[-1].data["id"] == heard[3].data["id"]
    for one in ids.values():
        assert await shop.events(one) == ["user.created"]
        assert await shop.live.value("SELECT count(*) FROM wallets WHERE user_id = $1", one) == 1
    buyer, seller = ids[names[0]], ids[names[1]]
    bodies = [
        {"buyer_id": who, "seller_id": seller, "amount": "5.00", "title": "x", "client_order_ref": reference}
        for who, reference in [*((buyer, name) for name in names), (buyer, names[3]), ("usr_nobody", unique("ref"))]
    ]
    bodies[4]["milestones"] = [{"ref": "m1", "title": "half"}]
    orders = await asyncio.gather(*(shop.post("/orders", body, key=unique("o")) for body in bodies))
    assert sorted(one.status for one in orders) == [200] + [201] * 10 + [404]
    assert orders[10].data["id"] == orders[3].data["id"]
    for one in orders[:10]:
        assert await shop.events(one.data["id"]) == ["order.created"]
        assert one.data == (await shop.done("GET", f"/orders/{one.data['id']}"))
    await shop.live.assert_books_hold()


async def test_a_client_s_text_stays_as_it_is(shop: Marketplace) -> None:
    """Percent signs, and what looks like a place, which only this process can name."""
    alice = await user(shop)
    text = f"100 % %1$s %s {place(2)}".replace(place(2)[5:29], "0" * 24)
    body = {"amount": "1.00", "reference": text, "description": text}
    await shop.done("POST", f"/users/{alice.id}/balance/credit", body)
    [event] = await shop.live.rows(
        "SELECT payload FROM events WHERE aggregate_id = $1 AND type = 'balance.credited'", alice.id
    )
    assert f'"{text}"' in str(event["payload"]).replace("'", '"')
    sql = "SELECT reason FROM ledger.transactions WHERE subject = $1"
    assert await shop.live.value(sql, alice.id) == text


@given(st.lists(st.sampled_from(["%", "%s", "x", "a", "ü", place(1), place(7)])))
def test_a_template_is_the_text_with_its_places(pieces: list[str]) -> None:
    written = as_format("".join(pieces))
    arguments = {place(number): f"%{number}$s" for number in (1, 7)}
    assert written == "".join(arguments.get(piece, piece.replace("%", "%%")) for piece in pieces)


async def test_the_database_writes_amounts_and_times_as_we_do(shop: Marketplace) -> None:
    edges = [0, 1, 99_999, 100_000, 12_345_678, 10**7, UNITS_MAX]
    for units in (*edges, *(-one for one in edges)):
        assert await shop.live.value("SELECT wire_amount($1)", units) == format_amount(units)
    for moment in ("2026-01-02 03:04:05.678901+00", "2026-11-27 23:59:59.9999999+02", "1999-12-31 00:00:00+00"):
        written = f"SELECT wire_time('{moment}'::timestamptz) AS text, '{moment}'::timestamptz AS moment"
        [row] = await shop.live.rows(written)
        assert row["text"] == to_wire(row["moment"])
