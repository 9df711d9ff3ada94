"""What the controls tell a test that holds books against the sandbox: who paid whom, and what came back to Airtm."""

from decimal import Decimal

from airtm_driver import call, made, payout_of
from escrow_driver import Parties, approve, deployed, fund, release
from sandbox_driver import PASSPHRASE, running

from offerhub.sandbox.options import SandboxOptions


async def test_what_went_from_whom_to_whom() -> None:
    async with running(SandboxOptions(ledger_seconds=0.02, network_passphrase=PASSPHRASE, seed=71)) as sandbox:
        parties = Parties(*[await sandbox.wallet() for _ in range(6)])
        stranger = await sandbox.wallet("2")
        contract = await deployed(sandbox, parties)
        assert (await fund(sandbox, parties, contract, 100)).status == 200
        body = {"secret": stranger.secret, "destination": contract, "amount": "0.5"}
        for _ in range(2):
            await sandbox.sim("/pay", body)
        for index in (0, 1):
            await approve(sandbox, parties, contract, index)
        assert (await release(sandbox, parties, contract)).status == 200
        moved = (await sandbox.sim("/flows"))["usdc"]
        pairs = {(one["from"], one["to"]): (one["amount"], one["count"]) for one in moved}
        assert pairs[sandbox.info["usdc"]["issuer"], stranger.public_key] == ("2.0000000", 1)
        assert pairs[stranger.public_key, contract] == ("1.0000000", 2)
        out = {target: amount for (source, target), (amount, _) in pairs.items() if source == contract}
        assert out[sandbox.info["trustless_work_fee_account"]] == "0.3000000"
        assert sum(Decimal(amount) for amount in out.values()) == 100
        # Of one address only, as is its state; what has moved since is there.
        await sandbox.sim("/pay", body)
        own = (await sandbox.sim(f"/flows?address={stranger.public_key}"))["usdc"]
        assert {(one["from"], one["to"], one["amount"]) for one in own} == {
            (sandbox.info["usdc"]["issuer"], stranger.public_key, "2.0000000"),
            (stranger.public_key, contract, "1.5000000"),
        }
        state = await sandbox.sim(f"/state?address={stranger.public_key}&address={contract}")
        assert [one["address"] for one in state["accounts"]] == [stranger.public_key]
        assert [one["address"] for one in state["contracts"]] == [contract]


async def test_a_payout_that_comes_back_is_a_deposit() -> None:
    async with running(SandboxOptions(airtm_settle_seconds=0, network_passphrase=PASSPHRASE, seed=72)) as sandbox:
        payout = await made(sandbox, "/payouts", payout_of("one", commit=True))
        for action in ("complete", "refund"):
            await sandbox.sim(f"/airtm/payouts/{payout['id']}", {"action": action})
        assert (await call(sandbox, "GET", f"/payouts/{payout['id']}")).body["status"] == "COMPLETED"
        first, back = (await sandbox.sim("/airtm/deposits"))["deposits"]
        assert first["type"] == "funding"
        assert (back["type"], back["refundedPayoutId"], back["amount"]) == ("refunded", payout["id"], 40)
