"""Multi-release escrows at the Trustless Work face: each milestone's rules, error numbers and money by itself."""

import asyncio
from typing import Any

import pytest
from escrow_driver import Parties, act, deploy_body, on_chain
from sandbox_driver import PASSPHRASE, Answer, Sandbox
from stellar_sdk import Address, Keypair, TransactionEnvelope, scval

from offerhub.kernel.money import parse_chain_amount
from offerhub.sandbox.multi_encoding import multi_from_scval, multi_to_scval

ACTION = "/escrow/multi-release"


@pytest.fixture
async def parties(sandbox: Sandbox) -> Parties:
    return Parties(*await asyncio.gather(*[sandbox.wallet() for _ in range(6)]))


def refusal(answer: Answer, number: int) -> None:
    assert answer.status == 400, answer
    assert f"Error(Contract, #{number})" in answer.body["message"], answer.body


def multi_body(sandbox: Sandbox, parties: Parties, *amounts: float, **changes: Any) -> dict[str, Any]:
    body = deploy_body(sandbox, parties)
    del body["amount"], body["roles"]["receiver"]
    receiver = parties.receiver.public_key
    body["milestones"] = [
        {"description": f"part {place}", "amount": amount, "receiver": receiver}
        for place, amount in enumerate(amounts)
    ]
    return body | changes


async def funded(sandbox: Sandbox, parties: Parties, *amounts: float) -> str:
    made = await act(sandbox, "/deployer/multi-release", multi_body(sandbox, parties, *amounts), parties.approver)
    assert made.status == 200, made
    contract: str = made.body["contractId"]
    await fund(sandbox, parties, contract, sum(amounts))
    return contract


async def fund(sandbox: Sandbox, parties: Parties, contract: str, amount: float) -> None:
    buyer = parties.approver.public_key
    await sandbox.sim("/mint", {"address": buyer, "amount": f"{amount:.2f}"})
    body = {"contractId": contract, "signer": buyer, "amount": amount}
    assert (await act(sandbox, f"{ACTION}/fund-escrow", body, parties.approver)).status == 200


async def on_part(
    sandbox: Sandbox, what: str, contract: str, index: int, role: str, who: Keypair, **more: Any
) -> Answer:
    body = {"contractId": contract, "milestoneIndex": str(index), role: who.public_key, **more}
    return await act(sandbox, f"{ACTION}/{what}", body, who)


async def approve(sandbox: Sandbox, parties: Parties, contract: str, index: int) -> Answer:
    return await on_part(sandbox, "approve-milestone", contract, index, "approver", parties.approver)


async def release(sandbox: Sandbox, parties: Parties, contract: str, index: int) -> Answer:
    signer = parties.release_signer
    return await on_part(sandbox, "release-milestone-funds", contract, index, "releaseSigner", signer)


async def dispute(sandbox: Sandbox, contract: str, index: int, signer: Keypair) -> Answer:
    return await on_part(sandbox, "dispute-milestone", contract, index, "signer", signer)


def shared(parts: list[tuple[Keypair, float]]) -> list[dict[str, Any]]:
    return [{"address": keypair.public_key, "amount": amount} for keypair, amount in parts]


async def resolve(
    sandbox: Sandbox, parties: Parties, contract: str, index: int, parts: list[tuple[Keypair, float]]
) -> Answer:
    what, resolver = "resolve-milestone-dispute", parties.resolver
    return await on_part(sandbox, what, contract, index, "disputeResolver", resolver, distributions=shared(parts))


async def withdraw(sandbox: Sandbox, parties: Parties, contract: str, parts: list[tuple[Keypair, float]]) -> Answer:
    resolver = parties.resolver
    body = {"contractId": contract, "disputeResolver": resolver.public_key, "distributions": shared(parts)}
    return await act(sandbox, f"{ACTION}/withdraw-remaining-funds", body, resolver)


async def test_each_milestone_pays_by_itself(sandbox: Sandbox, parties: Parties) -> None:
    contract = await funded(sandbox, parties, 60, 40)
    refusal(await release(sandbox, parties, contract, 0), 6)
    done = {"newStatus": "completed", "newEvidence": "https://example.org/logo"}
    provider = parties.provider
    changed = await on_part(sandbox, "change-milestone-status", contract, 0, "serviceProvider", provider, **done)
    assert changed.status == 200, changed
    assert (await approve(sandbox, parties, contract, 0)).status == 200
    refusal(await approve(sandbox, parties, contract, 0), 32)
    refusal(await release(sandbox, parties, contract, 1), 6)
    assert (await release(sandbox, parties, contract, 0)).body["status"] == "SUCCESS"
    # 5 % and 0.3 % of 60.
    assert await sandbox.usdc_of(parties.receiver.public_key) == "56.8200000"
    assert await sandbox.usdc_of(parties.platform.public_key) == "3.0000000"
    refusal(await release(sandbox, parties, contract, 0), 30)
    again = await on_part(sandbox, "change-milestone-status", contract, 0, "serviceProvider", provider, **done)
    refusal(again, 30)
    row = await on_chain(sandbox, contract)
    assert (row["type"], row["balance"], "amount" in row, "flags" in row) == ("multi-release", 40, False, False)
    assert [part["amount"] for part in row["milestones"]] == [60, 40]
    assert [part["flags"]["released"] for part in row["milestones"]] == [True, False]
    assert "receiver" not in row["roles"]


async def test_a_milestone_in_dispute_is_resolved_in_parts(sandbox: Sandbox, parties: Parties) -> None:
    contract = await funded(sandbox, parties, 60, 40)
    seller, buyer = parties.receiver, parties.approver
    refusal(await resolve(sandbox, parties, contract, 0, [(seller, 60)]), 15)
    refusal(await dispute(sandbox, contract, 0, parties.resolver), 46)
    refusal(await dispute(sandbox, contract, 0, await sandbox.wallet()), 27)
    assert (await dispute(sandbox, contract, 0, seller)).status == 200
    refusal(await dispute(sandbox, contract, 0, buyer), 14)
    await approve(sandbox, parties, contract, 0)
    refusal(await release(sandbox, parties, contract, 0), 29)
    refusal(await resolve(sandbox, parties, contract, 0, [(seller, 60), (buyer, 0.01)]), 39)
    refusal(await withdraw(sandbox, parties, contract, [(buyer, 1)]), 41)
    # Less than the milestone's amount leaves the rest behind.
    assert (await resolve(sandbox, parties, contract, 0, [(seller, 30), (buyer, 20)])).status == 200
    assert await sandbox.usdc_of(seller.public_key) == "28.4100000"
    assert await sandbox.usdc_of(buyer.public_key) == "18.9400000"
    refusal(await resolve(sandbox, parties, contract, 0, [(seller, 10)]), 25)
    await approve(sandbox, parties, contract, 1)
    assert (await release(sandbox, parties, contract, 1)).status == 200
    row = await on_chain(sandbox, contract)
    assert row["balance"] == 10
    assert [part["flags"]["resolved"] for part in row["milestones"]] == [True, False]
    refusal(await withdraw(sandbox, parties, contract, [(buyer, 10.01)]), 16)
    assert (await withdraw(sandbox, parties, contract, [(buyer, 10)])).status == 200
    assert (await on_chain(sandbox, contract))["balance"] == 0
    assert await sandbox.usdc_of(buyer.public_key) == "28.4100000"


async def test_wrong_roles_and_indexes_are_refused(sandbox: Sandbox, parties: Parties) -> None:
    contract = await funded(sandbox, parties, 60, 40)
    thief = await sandbox.wallet()
    done, all_of_it = {"newStatus": "done", "newEvidence": ""}, {"distributions": shared([(thief, 60)])}
    refusal(await on_part(sandbox, "change-milestone-status", contract, 0, "serviceProvider", thief, **done), 9)
    refusal(await on_part(sandbox, "approve-milestone", contract, 0, "approver", thief), 12)
    refusal(await on_part(sandbox, "release-milestone-funds", contract, 0, "releaseSigner", thief), 5)
    refusal(
        await on_part(sandbox, "resolve-milestone-dispute", contract, 0, "disputeResolver", thief, **all_of_it), 13
    )
    refusal(await approve(sandbox, parties, contract, 2), 11)
    refusal(await release(sandbox, parties, contract, 2), 11)
    # The routes of the other type do not know the contract.
    for what, role in (("release-funds", "releaseSigner"), ("dispute-escrow", "signer")):
        body = {"contractId": contract, role: parties.approver.public_key}
        answer = await act(sandbox, f"/escrow/single-release/{what}", body, parties.approver)
        assert (answer.status, answer.body["message"]) == (400, "Escrow not found")
    assert (await on_chain(sandbox, contract))["balance"] == 100


async def test_a_change_between_build_and_funding_fails_it(sandbox: Sandbox, parties: Parties) -> None:
    contract = await funded(sandbox, parties, 1)
    funder = await sandbox.wallet("100")
    body = {"contractId": contract, "signer": funder.public_key, "amount": 100}
    built = await sandbox.trustless(f"{ACTION}/fund-escrow", body)
    await approve(sandbox, parties, contract, 0)
    envelope = TransactionEnvelope.from_xdr(built.body["unsignedTransaction"], PASSPHRASE)
    envelope.sign(funder)
    refusal(await sandbox.trustless("/helper/send-transaction", {"signedXdr": envelope.to_xdr()}), 36)
    assert await sandbox.usdc_of(funder.public_key) == "100.0000000"
    # Paid in twice is paid in twice; a milestone takes its own amount only.
    await fund(sandbox, parties, contract, 1)
    assert (await release(sandbox, parties, contract, 0)).status == 200
    assert (await on_chain(sandbox, contract))["balance"] == 1


async def test_thirds_are_owed_more_than_there_is(sandbox: Sandbox, parties: Parties) -> None:
    contract = await funded(sandbox, parties, 100)
    await dispute(sandbox, contract, 0, parties.receiver)
    parts = [(parties.receiver, 33.3333333), (parties.approver, 33.3333333), (parties.provider, 33.3333334)]
    # 10 is the token contract's own: the last transfer lacks 2 units.
    refusal(await resolve(sandbox, parties, contract, 0, parts), 10)
    assert (await on_chain(sandbox, contract))["balance"] == 100


async def test_what_is_built_is_what_was_asked(sandbox: Sandbox, parties: Parties) -> None:
    body = multi_body(sandbox, parties, 60, 40, platformFee=2.5)
    built = await sandbox.trustless("/deployer/multi-release", body)
    envelope = TransactionEnvelope.from_xdr(built.body["unsignedTransaction"], PASSPHRASE)
    call = envelope.transaction.operations[0].host_function.invoke_contract  # type: ignore[attr-defined]
    assert scval.from_address(call.args[0]).address == parties.approver.public_key
    escrow = multi_from_scval(call.args[2])
    assert (escrow.amount, escrow.platform_fee) == (1_000_000_000, 250)
    assert [part.amount for part in escrow.milestones] == [600_000_000, 400_000_000]
    assert {part.receiver for part in escrow.milestones} == {parties.receiver.public_key}
    assert multi_to_scval(escrow) == call.args[2]
    factory = Address.from_xdr_sc_address(call.contract_address).address
    assert factory == sandbox.info["multi_release_factory_contract"] != sandbox.info["factory_contract"]


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 100},
        {"roles": "with a receiver"},
        {"milestones": []},
        {"milestones": [{"description": "x"}]},
        {"milestones": [{"description": "x", "amount": "1", "receiver": "G"}]},
        {"milestones": [{"description": "x", "amount": 1, "receiver": "G"}]},
        {"platformFee": 100},
    ],
)
async def test_bad_deploy_bodies(sandbox: Sandbox, parties: Parties, changes: dict[str, Any]) -> None:
    if "roles" in changes:
        changes = {"roles": parties.roles()}
    answer = await sandbox.trustless("/deployer/multi-release", multi_body(sandbox, parties, 60, 40, **changes))
    assert (answer.status, answer.body["statusCode"]) == (400, 400)


async def test_money_is_conserved(sandbox: Sandbox, parties: Parties) -> None:
    contract = await funded(sandbox, parties, 60, 40)
    await approve(sandbox, parties, contract, 0)
    await release(sandbox, parties, contract, 0)
    state = await sandbox.sim("/state")
    held: int = sum(parse_chain_amount(a["usdc"]) for a in state["accounts"] if a["usdc"] is not None)
    held += sum(parse_chain_amount(c["usdc"]) for c in state["contracts"])
    assert held == parse_chain_amount(state["usdc_issued"])
    [shown] = [one for one in state["contracts"] if one["address"] == contract]
    assert (shown["amount"], shown["usdc"]) == ("100.0000000", "40.0000000")
    assert [(part["amount"], part["released"]) for part in shown["milestones"]] == [
        *(("60.0000000", True), ("40.0000000", False))
    ]
