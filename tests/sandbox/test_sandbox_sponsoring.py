"""Sponsored reserves: an account and its trustline that somebody else keeps the XLM for (providers.md 6.3)."""

from typing import Any

import pytest
from stellar_sdk import (
    BeginSponsoringFutureReserves,
    ChangeTrust,
    CreateAccount,
    EndSponsoringFutureReserves,
    Keypair,
    ManageData,
    Payment,
    TransactionBuilder,
)
from stellar_sdk.operation import Operation

from sandbox.sandbox_driver import PASSPHRASE, Answer, Sandbox


def opening(sandbox: Sandbox, sponsor: Keypair, user: Keypair) -> list[Operation]:
    """What opens an account without XLM."""
    return [
        BeginSponsoringFutureReserves(user.public_key, source=sponsor.public_key),
        CreateAccount(user.public_key, "0", source=sponsor.public_key),
        ChangeTrust(sandbox.usdc, source=user.public_key),
        EndSponsoringFutureReserves(source=user.public_key),
    ]


async def submit(sandbox: Sandbox, sponsor: Keypair, user: Keypair, *operations: Operation) -> Answer:
    envelope = await sandbox.build(sponsor, *operations)
    envelope.sign(user)
    return await sandbox.submit(envelope)


async def account(sandbox: Sandbox, keypair: Keypair) -> dict[str, Any]:
    found: dict[str, Any] = await sandbox.get(f"/accounts/{keypair.public_key}")
    return found


def codes(answer: Answer) -> tuple[str, list[str]]:
    found = answer.body["extras"]["result_codes"]
    return found["transaction"], found.get("operations", [])


async def test_an_account_without_xlm_whose_reserve_another_keeps(sandbox: Sandbox) -> None:
    sponsor, user = await sandbox.wallet(), Keypair.random()
    answer = await submit(sandbox, sponsor, user, *opening(sandbox, sponsor, user))
    assert answer.status == 200, answer
    opened, payer = await account(sandbox, user), await account(sandbox, sponsor)
    assert (opened["num_sponsored"], opened["num_sponsoring"], opened["sponsor"]) == (3, 0, sponsor.public_key)
    assert opened["balances"][-1]["balance"] == "0.0000000"
    assert opened["balances"][0]["sponsor"] == sponsor.public_key
    assert (payer["num_sponsoring"], payer["num_sponsored"]) == (3, 0)
    assert "sponsor" not in payer
    [begun, *_] = await sandbox.records(f"/transactions/{answer.body['hash']}/operations")
    assert (begun["type"], begun["sponsored_id"]) == ("begin_sponsoring_future_reserves", user.public_key)


async def test_its_transactions_need_somebody_who_pays(sandbox: Sandbox) -> None:
    sponsor, user = await sandbox.wallet(), Keypair.random()
    await submit(sandbox, sponsor, user, *opening(sandbox, sponsor, user))
    await sandbox.sim("/mint", {"address": user.public_key, "amount": "5"})
    payment = await sandbox.build(user, Payment(sponsor.public_key, sandbox.usdc, "2"))
    assert codes(await sandbox.submit(payment)) == ("tx_insufficient_balance", [])
    bump = TransactionBuilder.build_fee_bump_transaction(sponsor, 100, payment, PASSPHRASE)
    bump.sign(sponsor)
    assert (await sandbox.submit(bump.to_xdr())).status == 200
    assert await sandbox.usdc_of(user.public_key) == "3.0000000"


async def test_a_trustline_given_up_frees_its_reserve(sandbox: Sandbox) -> None:
    sponsor, user = await sandbox.wallet(), Keypair.random()
    await submit(sandbox, sponsor, user, *opening(sandbox, sponsor, user))
    removal = await sandbox.build(sponsor, ChangeTrust(sandbox.usdc, "0", source=user.public_key))
    removal.sign(user)
    assert (await sandbox.submit(removal)).status == 200
    assert (await account(sandbox, user))["num_sponsored"] == 2
    assert (await account(sandbox, sponsor))["num_sponsoring"] == 2


async def test_a_sponsor_without_xlm_cannot(sandbox: Sandbox) -> None:
    rich, poor, user = await sandbox.wallet(), Keypair.random(), Keypair.random()
    # 1 XLM of its own reserve, 1 for the account of another, and nothing for the trustline.
    made = await sandbox.build(rich, CreateAccount(poor.public_key, "2.1"))
    assert (await sandbox.submit(made)).status == 200
    answer = await submit(sandbox, poor, user, *opening(sandbox, poor, user))
    assert codes(answer)[0] == "tx_failed"
    assert codes(answer)[1][:3] == ["op_success", "op_success", "op_low_reserve"]
    assert (await account(sandbox, poor))["num_sponsoring"] == 0


@pytest.mark.parametrize(
    ("pick", "expected"),
    [
        ([0, 1, 2], ("tx_bad_sponsorship", [])),  # begun, not ended
        ([1], ("tx_failed", ["op_low_reserve"])),  # without a sponsor 0 XLM are too few
        ([0, 0], ("tx_failed", ["op_success", "op_already_sponsored"])),
        ([3], ("tx_failed", ["op_not_sponsored"])),
    ],
)
async def test_what_a_sponsorship_may_not_be(
    sandbox: Sandbox, pick: list[int], expected: tuple[str, list[str]]
) -> None:
    sponsor, user = await sandbox.wallet(), Keypair.random()
    if pick == [3]:
        user = await sandbox.wallet()
    operations = opening(sandbox, sponsor, user)
    envelope = await sandbox.build(sponsor, *(operations[index] for index in pick))
    if {2, 3} & set(pick):
        envelope.sign(user)
    assert codes(await sandbox.submit(envelope)) == expected
    assert (await account(sandbox, sponsor))["num_sponsoring"] == 0


async def test_other_entries_cannot_be_sponsored_here(sandbox: Sandbox) -> None:
    sponsor, user = await sandbox.wallet(), await sandbox.wallet()
    operations = [
        BeginSponsoringFutureReserves(user.public_key),
        ManageData("name", "value", source=user.public_key),
        EndSponsoringFutureReserves(source=user.public_key),
    ]
    answer = await submit(sandbox, sponsor, user, *operations)
    assert codes(answer)[1][:2] == ["op_success", "op_not_supported"]
