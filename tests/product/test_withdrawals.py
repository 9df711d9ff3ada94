"""Withdrawals to Stellar addresses: the money leaves once, or comes back once (contract 2.10)."""

from typing import Any

import pytest
from stellar_sdk import Account, Asset, Keypair, MuxedAccount, TransactionBuilder

from support.outside import World
from support.product import Marketplace, Person

UNIT = 10_000_000


def payout(person: Person, destination: str, amount: str = "10.00", **more: Any) -> dict[str, Any]:
    """The body of a withdrawal."""
    body = {"userId": person.id, "amount": amount, "destinationType": "crypto", "destinationRef": destination}
    return {**body, **more}


@pytest.fixture(scope="module")
async def rich(shop: Marketplace) -> Person:
    """A user with 1000.00 on the chain."""
    [person] = await shop.people("1000")
    return person


@pytest.fixture(scope="module")
async def outside(world: World) -> str:
    """A wallet outside that trusts USDC."""
    return (await world.outside_wallet())[0]


async def test_a_withdrawal_is_paid_before_it_is_answered(shop: Marketplace, rich: Person, outside: str) -> None:
    before, there = await shop.units(rich.id), await shop.on_chain(outside)
    heard = await shop.post(
        "/withdrawals", payout(rich, outside, "12.34", memo="rent", description="May", commit=True)
    )
    assert heard.status == 201
    done = heard.data
    assert {name: heard.json[name] for name in done} == done, "the fields are at the top as well"
    assert done["id"].startswith("wd_")
    assert (done["status"], done["committed"]) == ("WITHDRAWAL_COMPLETED", True)
    assert (done["amount"], done["fee"], done["currency"]) == ("12.34", "0.00", "USD")
    assert (done["memo"], done["description"], done["destinationRef"]) == ("rent", "May", outside)
    assert "failureReason" not in done
    assert await shop.on_chain(outside) - there == 123_400_000
    assert await shop.units(rich.id) == {"available": before["available"] - 123_400_000}
    await shop.assert_backed(rich)
    paid = await shop.live.product.horizon.account_payments(outside, 1)
    assert (paid[0].transaction_hash, paid[0].from_address) == (done["transactionHash"], rich.address)
    assert await shop.events(done["id"]) == ["withdrawal.created", "withdrawal.completed"]
    assert await shop.postings(done["id"]) == ["withdrawal", "withdrawal_completed"]
    one = f"/withdrawals/{done['id']}"
    assert await shop.done("GET", one) == done
    assert await shop.done("POST", f"{one}/refresh") == done
    details = await shop.refused("POST", f"{one}/commit", status=409, code="WITHDRAWAL_NOT_COMMITTABLE")
    assert details["currentStatus"] == "WITHDRAWAL_COMPLETED"
    assert await shop.done("GET", f"{one}?userId={rich.id}") == done
    await shop.refused("GET", f"{one}?userId=usr_other", status=404, code="WITHDRAWAL_NOT_FOUND")


async def test_the_memo_is_on_the_chain(shop: Marketplace, rich: Person, outside: str, world: World) -> None:
    done = await shop.done("POST", "/withdrawals", payout(rich, outside, "1.00", memo="inv 7 €"), status=201)
    async with shop.http.get(f"{world.environ['STELLAR_HORIZON_URL']}/transactions/{done['transactionHash']}") as got:
        found = await got.json()
    assert (found["memo_type"], found["memo"]) == ("text", "inv 7 €")


async def test_a_muxed_address_is_paid_as_it_is(shop: Marketplace, rich: Person, outside: str) -> None:
    muxed = MuxedAccount(outside, 42).account_muxed
    assert muxed is not None
    there = await shop.on_chain(outside)
    done = await shop.done("POST", "/withdrawals", payout(rich, muxed, "2.00"), status=201)
    assert (done["status"], done["destinationRef"]) == ("WITHDRAWAL_COMPLETED", muxed)
    assert await shop.on_chain(outside) - there == 2 * UNIT


async def test_other_spellings(shop: Marketplace, rich: Person, outside: str) -> None:
    body = {"user_id": rich.id, "amount": "1.00", "destinationType": "stellar", "destination": outside}
    done = await shop.done("POST", "/withdrawals", body, status=201)
    assert (done["status"], done["destinationType"]) == ("WITHDRAWAL_COMPLETED", "crypto")


async def test_addresses_that_are_none_are_refused_at_the_door(shop: Marketplace, rich: Person) -> None:
    issuer = shop.live.product.network.usdc_issuer
    factory = (await shop.world.control("GET", "info"))["factory_contract"]
    own = MuxedAccount(rich.address, 7).account_muxed
    wrong = rich.address[:-1] + ("A" if rich.address[-1] != "A" else "B")
    before = await shop.counts()
    for destination in (
        "garbage",
        " ",
        wrong,
        rich.address.lower(),
        factory,
        issuer,
        rich.address,
        own,
        "S" + wrong[1:],
    ):
        await shop.refused(
            "POST", "/withdrawals", payout(rich, str(destination)), status=422, code="WITHDRAWAL_DESTINATION_INVALID"
        )
    assert await shop.counts() == before, "nothing was taken aside"


async def _untrusting(shop: Marketplace) -> str:
    address = Keypair.random().public_key
    await shop.live.product.horizon.friendbot(address)
    return address


async def _full(shop: Marketplace, world: World) -> str:
    address, secret = await world.outside_wallet()
    network, account = shop.live.product.network, await shop.live.product.horizon.account(address)
    assert account is not None
    builder = TransactionBuilder(Account(address, account.sequence), network.passphrase, base_fee=1000)
    builder.append_change_trust_op(Asset("USDC", network.usdc_issuer), limit="5").set_timeout(60)
    envelope = builder.build()
    envelope.sign(secret)
    await shop.submit(envelope.to_xdr())
    return address


@pytest.mark.parametrize("kind", ["missing", "untrusting", "full"])
async def test_a_destination_that_cannot_receive_gives_the_money_back_once(
    shop: Marketplace, rich: Person, world: World, kind: str
) -> None:
    address = Keypair.random().public_key
    if kind != "missing":
        address = await (_untrusting(shop) if kind == "untrusting" else _full(shop, world))
    before = await shop.units(rich.id)
    await shop.refused(
        "POST", "/withdrawals", payout(rich, address), status=422, code="WITHDRAWAL_DESTINATION_INVALID"
    )
    assert await shop.units(rich.id) == before
    [failed] = await shop.done("GET", f"/withdrawals?userId={rich.id}&limit=1")
    assert (failed["destinationRef"], failed["status"]) == (address, "WITHDRAWAL_FAILED")
    assert failed["failureReason"]
    assert "transactionHash" not in failed
    assert await shop.postings(failed["id"]) == ["withdrawal", "withdrawal_failed"]
    assert await shop.events(failed["id"]) == ["withdrawal.created", "withdrawal.failed"]
    assert (await shop.events(rich.id))[-2:] == ["balance.debited", "balance.credited"]
    await shop.assert_backed(rich)


async def test_a_refusal_by_the_chain_is_the_answer_of_its_key(shop: Marketplace, rich: Person) -> None:
    body = payout(rich, Keypair.random().public_key)
    before = len(await shop.done("GET", f"/withdrawals?userId={rich.id}&limit=100"))
    heard = [await shop.post("/withdrawals", body, key="withdraw-1") for _ in range(3)]
    assert {one.status for one in heard} == {422}
    assert len({one.body for one in heard}) == 1
    assert len(await shop.done("GET", f"/withdrawals?userId={rich.id}&limit=100")) == before + 1


async def test_one_key_is_one_payment(shop: Marketplace, rich: Person, outside: str) -> None:
    there = await shop.on_chain(outside)
    heard = [await shop.post("/withdrawals", payout(rich, outside, "3.00"), key="withdraw-2") for _ in range(2)]
    assert [one.status for one in heard] == [201, 201]
    assert heard[0].body == heard[1].body
    assert await shop.on_chain(outside) - there == 3 * UNIT


async def test_nobody_withdraws_more_than_is_there(shop: Marketplace, outside: str) -> None:
    [poor] = await shop.people("10")
    before = await shop.counts()
    details = await shop.refused(
        "POST", "/withdrawals", payout(poor, outside, "10.01"), status=422, code="INSUFFICIENT_FUNDS"
    )
    assert (details["requested"], details["available"]) == ("10.01", "10.00")
    assert await shop.counts() == before
    await shop.done("POST", f"/users/{poor.id}/balance/reserve", {"amount": "4.00", "orderId": "x"})
    await shop.refused("POST", "/withdrawals", payout(poor, outside, "6.01"), status=422, code="INSUFFICIENT_FUNDS")
    await shop.done("POST", "/withdrawals", payout(poor, outside, "6.00"), status=201)
    assert await shop.units(poor.id) == {"reserved": 4 * UNIT}


async def test_a_manual_credit_does_not_leave_the_house(shop: Marketplace, outside: str) -> None:
    [person] = await shop.people("3")
    await shop.credit(person, "7.00")
    details = await shop.refused(
        "POST", "/withdrawals", payout(person, outside, "10.00"), status=422, code="INSUFFICIENT_FUNDS"
    )
    assert details["shortfall"] == "7.00"
    assert await shop.units(person.id) == {"available": 10 * UNIT}
    await shop.deposit(person, "7")
    await shop.done("POST", "/withdrawals", payout(person, outside, "10.00"), status=201)
    assert await shop.units(person.id) == {"available": 7 * UNIT}
    assert await shop.on_chain(person.address) == 0


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"userId": None}, 400, "VALIDATION_ERROR"),
    ({"userId": ""}, 400, "VALIDATION_ERROR"),
    ({"userId": "usr_" + "0" * 32}, 404, "USER_NOT_FOUND"),
    ({"destinationRef": None}, 400, "VALIDATION_ERROR"),
    ({"destinationRef": ""}, 400, "VALIDATION_ERROR"),
    ({"destinationRef": 5}, 400, "VALIDATION_ERROR"),
    ({"destinationType": "cash"}, 400, "VALIDATION_ERROR"),
    ({"destinationType": "bank"}, 422, "PROVIDER_NOT_ENABLED"),
    ({"destinationType": "airtm_balance"}, 422, "PROVIDER_NOT_ENABLED"),
    ({"currency": "EUR"}, 400, "INVALID_CURRENCY"),
    ({"memo": "x" * 29}, 422, "WITHDRAWAL_DESTINATION_INVALID"),
    ({"memo": "€" * 10}, 422, "WITHDRAWAL_DESTINATION_INVALID"),
    ({"memo": ""}, 422, "WITHDRAWAL_DESTINATION_INVALID"),
    ({"fee": "1.00"}, 400, "VALIDATION_ERROR"),
]


@pytest.mark.parametrize(("change", "status", "code"), BAD)
async def test_bad_withdrawals(
    shop: Marketplace, rich: Person, outside: str, change: dict[str, Any], status: int, code: str
) -> None:
    before = await shop.counts()
    await shop.refused("POST", "/withdrawals", payout(rich, outside, **change), status=status, code=code)
    assert await shop.counts() == before


async def test_lists_page_and_filter(shop: Marketplace, outside: str) -> None:
    one, other = await shop.people("10", "10")
    made = [
        (await shop.done("POST", "/withdrawals", payout(person, outside, "1.00"), status=201))["id"]
        for person in (one, other, one)
    ]
    page = (await shop.get(f"/withdrawals?userId={one.id}&limit=1")).json
    assert ([found["id"] for found in page["data"]], page["hasMore"]) == ([made[2]], True)
    rest = (await shop.get(f"/withdrawals?userId={one.id}&limit=1&cursor={page['nextCursor']}")).json
    assert ([found["id"] for found in rest["data"]], rest["hasMore"]) == ([made[0]], False)
    everybody = await shop.done("GET", "/withdrawals?status=WITHDRAWAL_COMPLETED&limit=3")
    assert [found["id"] for found in everybody] == made[::-1]
    for query in ("status=DONE", "limit=0", "cursor=wd_1"):
        await shop.refused("GET", f"/withdrawals?{query}", status=400, code="VALIDATION_ERROR")


async def test_a_bound_key_withdraws_for_its_user_only(shop: Marketplace, outside: str) -> None:
    one, other = await shop.people("10", "10")
    bound = await shop.with_key("withdrawals", userId=one.id)
    body = {"amount": "1.00", "destinationType": "crypto", "destinationRef": outside}
    assert (await bound.done("POST", "/withdrawals", body, status=201))["userId"] == one.id
    for_other = {**body, "userId": other.id}
    await bound.refused("POST", "/withdrawals", for_other, status=403, code="INSUFFICIENT_SCOPE")
    theirs = await shop.done("POST", "/withdrawals", payout(other, outside, "1.00"), status=201)
    await bound.refused("GET", f"/withdrawals/{theirs['id']}", status=404, code="WITHDRAWAL_NOT_FOUND")
    assert {found["userId"] for found in await bound.done("GET", "/withdrawals")} == {one.id}
    assert await shop.balance(other) == ("9.00", "0.00")
