"""Escrows through the Trustless Work face: build, sign, send."""

from dataclasses import dataclass
from typing import Any

from sandbox_driver import PASSPHRASE, Answer, Sandbox
from stellar_sdk import Keypair, TransactionEnvelope


@dataclass
class Parties:
    """One wallet for each role, so that a mistaken role shows."""

    approver: Keypair
    provider: Keypair
    platform: Keypair
    release_signer: Keypair
    resolver: Keypair
    receiver: Keypair

    def roles(self) -> dict[str, str]:
        return {
            "approver": self.approver.public_key,
            "serviceProvider": self.provider.public_key,
            "platformAddress": self.platform.public_key,
            "releaseSigner": self.release_signer.public_key,
            "disputeResolver": self.resolver.public_key,
            "receiver": self.receiver.public_key,
        }


def deploy_body(sandbox: Sandbox, parties: Parties, **changes: Any) -> dict[str, Any]:
    return {
        "signer": parties.approver.public_key,
        "engagementId": "ord_1",
        "title": "A logo",
        "description": "A logo in two rounds",
        "roles": parties.roles(),
        "amount": 100,
        "platformFee": 5,
        "milestones": [{"description": "draft"}, {"description": "final"}],
        "trustline": {"address": sandbox.usdc.issuer, "symbol": "USDC"},
        **changes,
    }


async def act(sandbox: Sandbox, path: str, body: dict[str, Any], signer: Keypair) -> Answer:
    """Build, sign and send."""
    built = await sandbox.trustless(path, body)
    if built.status != 200:
        return built
    assert built.body["status"] == "SUCCESS"
    envelope = TransactionEnvelope.from_xdr(built.body["unsignedTransaction"], PASSPHRASE)
    envelope.sign(signer)
    return await sandbox.trustless("/helper/send-transaction", {"signedXdr": envelope.to_xdr()})


async def deployed(sandbox: Sandbox, parties: Parties, **changes: Any) -> str:
    body = deploy_body(sandbox, parties, **changes)
    answer = await act(sandbox, "/deployer/single-release", body, parties.approver)
    assert answer.status == 200, answer
    contract: str = answer.body["contractId"]
    assert answer.body["escrow"]["contractId"] == contract
    return contract


ACTION = "/escrow/single-release"


async def fund(sandbox: Sandbox, parties: Parties, contract: str, amount: float | str) -> Answer:
    human = str(amount)
    await sandbox.sim("/mint", {"address": parties.approver.public_key, "amount": human})
    body = {"contractId": contract, "signer": parties.approver.public_key, "amount": float(human)}
    return await act(sandbox, f"{ACTION}/fund-escrow", body, parties.approver)


async def approve(sandbox: Sandbox, parties: Parties, contract: str, index: int) -> Answer:
    body = {
        "contractId": contract,
        "milestoneIndex": str(index),
        "approver": parties.approver.public_key,
    }
    return await act(sandbox, f"{ACTION}/approve-milestone", body, parties.approver)


async def release(sandbox: Sandbox, parties: Parties, contract: str) -> Answer:
    body = {"contractId": contract, "releaseSigner": parties.release_signer.public_key}
    return await act(sandbox, f"{ACTION}/release-funds", body, parties.release_signer)


async def dispute(sandbox: Sandbox, contract: str, signer: Keypair) -> Answer:
    body = {"contractId": contract, "signer": signer.public_key}
    return await act(sandbox, f"{ACTION}/dispute-escrow", body, signer)


async def resolve(sandbox: Sandbox, parties: Parties, contract: str, parts: list[tuple[Keypair, float]]) -> Answer:
    body = {
        "contractId": contract,
        "disputeResolver": parties.resolver.public_key,
        "distributions": [{"address": keypair.public_key, "amount": amount} for keypair, amount in parts],
    }
    return await act(sandbox, f"{ACTION}/resolve-dispute", body, parties.resolver)


async def on_chain(sandbox: Sandbox, contract: str) -> dict[str, Any]:
    answer = await sandbox.read_trustless(
        "/helper/get-escrow-by-contract-ids", **{"contractIds[]": contract, "validateOnChain": "true"}
    )
    assert answer.status == 200, answer
    row: dict[str, Any] = answer.body[0]
    return row
