"""Deposits: what arrives on the chain is in the books once, to the last unit."""

from stellar_sdk import Account, Asset, Keypair, TransactionBuilder

from support.outside import World
from support.product import Marketplace, Person, unique

UNIT = 10_000_000


async def _builder(shop: Marketplace, source: str) -> TransactionBuilder:
    found = await shop.live.product.horizon.account(source)
    assert found is not None
    network = shop.live.product.network
    builder = TransactionBuilder(Account(source, found.sequence), network.passphrase, base_fee=1000)
    return builder.set_timeout(120)


async def _send(shop: Marketplace, builder: TransactionBuilder, *secrets: str) -> str:
    envelope = builder.build()
    for secret in secrets:
        envelope.sign(Keypair.from_secret(secret))
    return await shop.submit(envelope.to_xdr())


def _usdc(shop: Marketplace) -> Asset:
    return Asset("USDC", shop.live.product.network.usdc_issuer)


async def test_a_deposit_is_booked_with_its_event(shop: Marketplace) -> None:
    [alice] = await shop.people("12.5")
    assert await shop.balance(alice) == ("12.50", "0.00")
    assert await shop.units(alice.id) == {"available": 12 * UNIT + UNIT // 2}
    assert await shop.postings(alice.id) == ["deposit"]
    sql = "SELECT payload FROM events WHERE aggregate_id = $1 AND type = 'balance.credited'"
    [row] = await shop.live.rows(sql, alice.id)
    payload = row["payload"]
    assert (payload["source"], payload["amount"], payload["newBalance"]) == ("stellar_deposit", "12.5000000", "12.50")
    assert len(payload["transactionHash"]) == 64


async def test_dust_is_floored_on_the_wire_and_kept_in_the_books(shop: Marketplace) -> None:
    [alice] = await shop.people("10.0099999")
    assert await shop.balance(alice) == ("10.00", "0.00"), "never rounded up"
    await shop.deposit(alice, "0.0000001")
    assert await shop.balance(alice) == ("10.01", "0.00"), "the dust was carried"
    assert await shop.units(alice.id) == {"available": 100_100_000}
    await shop.deposit(alice, "0.0000001")
    await shop.refused(
        "POST", f"/users/{alice.id}/balance/debit", {"amount": "10.02"}, status=422, code="INSUFFICIENT_FUNDS"
    )
    await shop.done("POST", f"/users/{alice.id}/balance/debit", {"amount": "10.01"})
    assert await shop.units(alice.id) == {"available": 1}
    assert await shop.balance(alice) == ("0.00", "0.00")


async def test_one_transaction_may_pay_many_and_one_of_them_twice(shop: Marketplace, world: World) -> None:
    alice, bob = await shop.people(None, None)
    address, secret = await world.outside_wallet("100")
    builder = await _builder(shop, address)
    for target, amount in ((alice, "1.25"), (bob, "2"), (alice, "3.5")):
        builder.append_payment_op(target.address, _usdc(shop), amount)
    transaction = await _send(shop, builder, secret)
    await shop.live.deposits_caught_up()
    assert await shop.balance(alice) == ("4.75", "0.00")
    assert await shop.balance(bob) == ("2.00", "0.00")
    booked = await shop.live.value("SELECT count(*) FROM deposits WHERE transaction_hash = $1", transaction)
    assert booked == 3
    await shop.assert_backed(alice, bob)


async def test_other_assets_are_not_money(shop: Marketplace, world: World) -> None:
    """XLM, and an asset that only calls itself USDC."""
    [alice] = await shop.people(None)
    impostor, secret = await world.outside_wallet()
    false_usdc = Asset("USDC", impostor)
    gift = (await _builder(shop, impostor)).append_payment_op(alice.address, Asset.native(), "2")
    await _send(shop, gift, secret)
    # Only the product has the key of alice's wallet: a trustline to the impostor is the worst case.
    trust = (await _builder(shop, alice.address)).append_change_trust_op(false_usdc).build()
    signed = await shop.live.product.keyring.sign([alice.address], trust.to_xdr())
    await shop.submit(signed.xdr)
    builder = await _builder(shop, impostor)
    builder.append_payment_op(alice.address, false_usdc, "1000000")
    builder.append_payment_op(alice.address, Asset.native(), "50")
    await _send(shop, builder, secret)
    await shop.deposit(alice, "1")
    await shop.live.deposits_caught_up()
    assert await shop.balance(alice) == ("1.00", "0.00")
    assert await shop.postings(alice.id) == ["deposit"]


async def test_a_payment_between_two_wallets_of_ours_is_a_withdrawal_and_a_deposit(shop: Marketplace) -> None:
    alice, bob = await shop.people("20", None)
    body = {"userId": alice.id, "amount": "7.50", "destinationType": "crypto", "destinationRef": bob.address}
    sent = await shop.done("POST", "/withdrawals", body, status=201)
    assert sent["status"] == "WITHDRAWAL_COMPLETED"
    await shop.live.deposits_caught_up()
    assert await shop.balance(alice) == ("12.50", "0.00")
    assert await shop.balance(bob) == ("7.50", "0.00")
    await shop.assert_backed(alice, bob)


async def test_what_an_escrow_pays_out_is_not_booked_as_a_deposit_too(
    shop: Marketplace, pair: tuple[Person, Person]
) -> None:
    buyer, seller = pair
    order_id = await shop.order(buyer, seller, "10.00", "IN_PROGRESS")
    await shop.done("POST", f"/orders/{order_id}/resolution/release")
    await shop.live.deposits_caught_up()
    assert await shop.units(seller.id) == {"available": 99_700_000}
    assert await shop.postings(seller.id) == []
    assert await shop.postings(order_id) == ["hold", "fund_escrow", "released"]
    await shop.assert_backed(buyer, seller)


async def test_money_for_nobody_we_know_moves_the_cursor_on(shop: Marketplace, world: World) -> None:
    stranger, _ = await world.outside_wallet("5")
    before = await shop.live.value("SELECT count(*) FROM ledger.transactions")
    await shop.live.deposits_caught_up()
    assert await shop.live.value("SELECT count(*) FROM ledger.transactions") == before
    assert await shop.live.value("SELECT count(*) FROM quarantined_records") == 0
    assert await shop.live.value("SELECT count(*) FROM deposits WHERE address = $1", stranger) == 0


async def test_a_deposit_before_the_trustline_bounces_and_nothing_is_booked(shop: Marketplace) -> None:
    made = await shop.done("POST", "/users", {"externalUserId": unique("late")}, status=201)
    person = Person(made["id"], made["wallet"]["publicKey"])
    await shop.ready(person)
    await shop.live.deposits_caught_up()
    assert await shop.balance(person) == ("0.00", "0.00"), "the XLM that opened the account is not money"
