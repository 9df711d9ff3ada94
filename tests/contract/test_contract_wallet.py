"""Contract 2.5: a user's wallet."""

import pytest

from support.product import Marketplace
from support.wire import ADDRESS, CHAIN_AMOUNT, HASH, TEXT, TIME, Omittable, opened

WALLET = {
    "publicKey": ADDRESS,
    "type": ("INVISIBLE", "EXTERNAL"),
    "provider": ("STELLAR",),
    "isActive": bool,
    "isPrimary": bool,
    "status": ("READY",),
    "balance": {"usdc": CHAIN_AMOUNT, "xlm": CHAIN_AMOUNT},
    "createdAt": TIME,
    "stale": Omittable((True,)),
}
DEPOSIT = {
    "provider": ("crypto",),
    "method": ("stellar_address",),
    "address": ADDRESS,
    "network": ("testnet",),
    "asset": {"code": ("USDC",), "issuer": ADDRESS},
    "instructions": TEXT,
    "status": ("READY",),
}
PAYMENT = {
    "id": TEXT,
    "type": ("payment", "create_account"),
    "from": ADDRESS,
    "to": ADDRESS,
    "amount": CHAIN_AMOUNT,
    "asset": TEXT,
    "createdAt": TEXT,
    "hash": HASH,
    "successful": bool,
}


@pytest.mark.claims(
    "GET /users/{user_id}/wallet",
    "GET /users/{user_id}/wallet/deposit",
    "GET /users/{user_id}/wallet/transactions",
)
async def test_a_wallet(shop: Marketplace) -> None:
    [person] = await shop.people("1.5")
    path = f"/users/{person.id}/wallet"
    wallet = opened(await shop.get(path), "DATA", WALLET)
    assert (wallet["publicKey"], wallet["balance"]["usdc"]) == (person.address, "1.5000000")
    assert "stale" not in wallet
    where = opened(await shop.get(f"{path}/deposit"), "DATA", DEPOSIT)
    assert where["address"] == person.address
    lines = opened(await shop.get(f"{path}/transactions"), "DATA", [PAYMENT])
    newest, opening = lines
    assert (newest["type"], newest["to"], newest["amount"]) == ("payment", person.address, "1.5000000")
    assert newest["asset"] == f"USDC:{where['asset']['issuer']}"
    assert (opening["type"], opening["asset"]) == ("create_account", "XLM")
    assert len(opened(await shop.get(f"{path}/transactions?limit=1"), "DATA", [PAYMENT])) == 1
    for tail in ("", "/deposit", "/transactions"):
        await shop.refused("GET", f"/users/usr_nobody/wallet{tail}", status=404, code="WALLET_NOT_FOUND")
