"""A mistake of the sandbox itself: one transaction fails and the log says so; books that do not add up end it."""

import logging
from typing import Any

import pytest
from sandbox_driver import Sandbox
from stellar_sdk import Payment

from offerhub.sandbox import transact
from offerhub.sandbox.apply import Applier


@pytest.mark.parametrize("broken", ["apply", "describe"])
async def test_one_transaction_fails_and_the_others_go_on(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    payer, payee, other = await sandbox.wallet("10"), await sandbox.wallet(), await sandbox.wallet("10")
    sequence = await sandbox.sequence(payer.public_key)
    poison = await sandbox.build(payer, Payment(payee.public_key, sandbox.usdc, "3.3333333"))
    healthy = await sandbox.build(other, Payment(payee.public_key, sandbox.usdc, "1"))
    honest = getattr(Applier, "apply") if broken == "apply" else getattr(transact, "describe")  # noqa: B009

    def failing(*given: Any) -> Any:
        done = honest(*given)
        operation = given[1] if broken == "apply" else given[0]
        if getattr(operation, "amount", "") == "3.3333333":
            raise KeyError("a mistake")
        return done

    monkeypatch.setattr(Applier if broken == "apply" else transact, broken, failing)
    with caplog.at_level(logging.ERROR, "offerhub.sandbox"):
        answer = await sandbox.submit(poison)
    assert (answer.status, answer.body["extras"]["result_codes"]) == (400, {"transaction": "tx_internal_error"})
    assert poison.hash_hex() in caplog.text
    assert "a mistake" in caplog.text
    # It is in a ledger, has cost its fee and its sequence number, and moved nothing.
    listed = await sandbox.get(f"/transactions/{poison.hash_hex()}")
    assert (listed["successful"], listed["fee_charged"]) == (False, "100")
    assert await sandbox.sequence(payer.public_key) == sequence + 1
    assert await sandbox.usdc_of(payer.public_key) == "10.0000000"
    assert (await sandbox.submit(healthy)).status == 200
    assert await sandbox.usdc_of(payee.public_key) == "1.0000000"
