"""Looks at where money is, by the job `reconcile-totals`; and a thief who has the key of an address of ours."""

from typing import Any, Final

from stellar_sdk import Account, Asset, TransactionBuilder

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.kernel.money import format_chain_amount
from offerhub.reconciliation.model import Outcome
from support.outside import eventually
from support.product import MASTER_KEY, Marketplace

FEE_BID: Final = 5_000_000


class Auditor:
    """Whoever runs the installation and looks at what differs."""

    def __init__(self, shop: Marketplace) -> None:
        self.office = Marketplace(shop.live, shop.world, shop.http, DEFAULT_MARKETPLACE_ID, MASTER_KEY)
        self.live = shop.live

    async def look(self) -> Outcome:
        """One run of the job."""
        return await self.live.product.reconciliation._jobs["reconcile-totals"].work()

    async def ask_for_a_look(self) -> dict[str, Any]:
        """One run by its route and the queue; returns it once it has ended."""
        asked = await self.office.done("POST", "/admin/reconciliation/reconcile-totals/run", status=202)

        async def run() -> dict[str, Any]:
            listed = (await self.office.get("/admin/reconciliation/runs?job=reconcile-totals&limit=5")).json["data"]
            return next(one for one in listed if one["id"] == asked["id"])

        return await eventually(run, lambda found: found["endedAt"] is not None)

    async def about(self, kind: str, subject_id: str) -> list[dict[str, Any]]:
        """The findings of a kind about a subject, the newest first."""
        path = f"/admin/reconciliation/findings?kind={kind}&subjectId={subject_id}"
        found: list[dict[str, Any]] = (await self.office.get(path)).json["data"]
        return found

    async def verdict(self, kind: str, subject_id: str) -> str:
        """What the last look has shown."""
        sql = "SELECT verdict FROM total_looks WHERE kind = $1 AND subject_id = $2"
        return str(await self.live.value(sql, kind, subject_id))

    async def settle(self, finding: dict[str, Any], reason: str) -> None:
        """Say that a finding is dealt with."""
        path = f"/admin/reconciliation/findings/{finding['id']}/resolve"
        await self.office.done("POST", path, {"reason": reason})

    async def steal(self, address: str, units: int) -> None:
        """Pay out of an address of ours with its key; no saga and no entry knows of it."""
        made = self.live.product
        outside, _ = await self.office.world.outside_wallet()
        account = await made.horizon.account(address)
        assert account is not None
        builder = TransactionBuilder(Account(address, account.sequence), made.network.passphrase, base_fee=100)
        usdc = Asset("USDC", made.network.usdc_issuer)
        builder.append_payment_op(outside, usdc, format_chain_amount(units)).set_timeout(120)
        signed = await made.keyring.sign([address], builder.build().to_xdr())
        [platform] = await self.live.rows("SELECT public_key FROM wallets WHERE purpose = 'platform'")
        bumped = await made.keyring.bump(platform["public_key"], signed.xdr, FEE_BID)
        await self.office.submit(bumped.xdr)
