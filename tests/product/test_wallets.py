"""Wallets over the wire (contract 2.5)."""

import pytest

from support.outside import World
from support.product import Marketplace, Person, unique


async def test_the_deposit_address_is_known_from_the_first_moment(shop: Marketplace) -> None:
    made = await shop.done("POST", "/users", {"externalUserId": unique("new")}, status=201)
    where = await shop.done("GET", f"/users/{made['id']}/wallet/deposit")
    network = shop.live.product.network
    assert where["address"] == made["wallet"]["publicKey"]
    assert where["asset"] == {"code": "USDC", "issuer": network.usdc_issuer}
    assert (where["provider"], where["method"], where["network"]) == ("crypto", "stellar_address", "testnet")
    assert network.usdc_issuer in where["instructions"]
    await shop.ready(Person(made["id"], where["address"]))


async def test_a_wallet_shows_what_the_chain_holds(shop: Marketplace) -> None:
    [alice] = await shop.people("25.5")
    wallet = await shop.done("GET", f"/users/{alice.id}/wallet")
    assert wallet["publicKey"] == alice.address
    assert (wallet["type"], wallet["provider"], wallet["status"]) == ("INVISIBLE", "STELLAR", "READY")
    assert wallet["isActive"] is True
    assert wallet["isPrimary"] is True
    assert wallet["balance"]["usdc"] == "25.5000000"
    assert wallet["balance"]["xlm"] == "0.0000000", "the platform keeps its reserves and pays its fees"
    assert "stale" not in wallet


async def test_payments_are_listed_newest_first(shop: Marketplace) -> None:
    [bob] = await shop.people("1")
    await shop.deposit(bob, "2.25")
    lines = await shop.done("GET", f"/users/{bob.id}/wallet/transactions")
    assert [(line["type"], line["amount"]) for line in lines] == [
        ("payment", "2.2500000"),
        ("payment", "1.0000000"),
        ("create_account", "0.0000000"),
    ]
    newest = lines[0]
    assert newest["to"] == bob.address
    assert newest["asset"] == str(shop.live.product.network.usdc)
    assert newest["successful"] is True
    assert len(newest["hash"]) == 64
    assert len(await shop.done("GET", f"/users/{bob.id}/wallet/transactions?limit=1")) == 1
    assert len(await shop.done("GET", f"/users/{bob.id}/wallet/transactions?limit=1000")) == 3
    for limit in ("0", "-1", "many"):
        path = f"/users/{bob.id}/wallet/transactions?limit={limit}"
        await shop.refused("GET", path, status=400, code="VALIDATION_ERROR")


@pytest.mark.usefixtures("mended")
async def test_while_the_chain_cannot_be_read_the_answers_are_marked_and_still_200(
    shop: Marketplace, world: World
) -> None:
    [carol] = await shop.people("3")
    fault = await world.fault("horizon", f"/accounts/{carol.address}", "error_before")
    wallet = await shop.done("GET", f"/users/{carol.id}/wallet")
    assert wallet["stale"] is True
    assert wallet["publicKey"] == carol.address
    lines = await shop.done("GET", f"/users/{carol.id}/wallet/transactions")
    assert [(line["amount"], line["to"]) for line in lines] == [("3.0000000", carol.address)]
    synced = await shop.done("POST", f"/users/{carol.id}/balance/sync")
    assert synced["synced"] is False
    assert synced["providerBalance"] == synced["discrepancy"] == "unknown"
    assert await fault.fired() >= 3


@pytest.mark.usefixtures("mended")
async def test_a_wallet_is_set_up_although_the_chain_was_away_at_first(shop: Marketplace, world: World) -> None:
    fault = await world.fault("horizon", "/accounts/G", "error_before", times=1)
    [dave] = await shop.people("1")
    assert await fault.fired() == 1
    assert await shop.balance(dave) == ("1.00", "0.00")
