"""Users who pay in and out through Airtm."""

from typing import Any

from support.outside import eventually
from support.product import Marketplace, Person, unique


async def link(shop: Marketplace, user_id: str) -> str:
    """Link a user to an Airtm account of its own; returns the account's address."""
    email, key = f"{unique('payer')}@example.com", unique("link")

    async def asked() -> int:
        heard = await shop.post(f"/users/{user_id}/airtm/link", {"email": email}, key=key)
        assert heard.status in {200, 504}, heard.body
        return heard.status

    await eventually(asked, lambda status: status == 200)
    return email


async def top_up(
    shop: Marketplace, person: Person, amount: str, *, fee: str | None = None, email: str | None = None
) -> str:
    """Pay in as a user does, at Airtm's page, and wait until it is booked; returns the payer's address at Airtm.

    `fee` is what Airtm keeps, such as `0.25`. `email` is the address of somebody who has paid before.
    """
    email = email or await link(shop, person.id)
    made: dict[str, Any] = await shop.done("POST", "/topups", {"userId": person.id, "amount": amount}, status=201)
    form = {"action": "pay", "email": email}
    async with shop.http.post(made["confirmationUri"], data=form, allow_redirects=False) as answer:
        assert answer.status == 303
    await shop.world.airtm_payin(made["airtmPayinId"], "confirm", fee)
    done = await shop.done("POST", f"/topups/{made['id']}/refresh")
    assert done["status"] == "TOPUP_SUCCEEDED"
    return email
