"""The endpoints of the treasury, for whoever runs the installation."""

from typing import Any, Final

from offerhub.errors import (
    InvalidAmountFormat,
    InvalidState,
    ProviderNotEnabled,
    TreasuryShort,
    UserNotActive,
    UserNotFound,
)
from offerhub.ledger.amounts import positive_amount
from offerhub.runtime.routes import Call, Envelope, Route
from offerhub.treasury.model import CapitalMovementAnswer, CapitalTransferBody, RebalancingBody, TreasuryAnswer
from offerhub.treasury.service import Treasury

_WHO: Final = "It takes the master key, or a key of the default marketplace that is bound to no user."


def routes(treasury: Treasury) -> tuple[Route, ...]:
    """Declare the endpoints."""

    async def position(call: Call) -> TreasuryAnswer:
        return await treasury.position(call.actor)

    async def transfer(call: Call) -> CapitalMovementAnswer:
        body: CapitalTransferBody = call.body
        amount = positive_amount(body.amount)
        return await treasury.transfer_capital(call.tx, call.actor, body.userId, amount, body.reference)

    async def rebalance(call: Call) -> CapitalMovementAnswer:
        body: RebalancingBody = call.body
        amount = positive_amount(body.amount)
        return await treasury.rebalance(call.tx, call.actor, body.direction, amount, body.reference)

    support: dict[str, Any] = {"scope": "support", "domain": "treasury", "envelope": Envelope.DATA}
    return (
        Route(
            "GET",
            "/admin/treasury",
            "treasury.get",
            "Say what the treasury holds and has advanced",
            position,
            **support,
            unit="none",
            answer=TreasuryAnswer,
            errors=(ProviderNotEnabled,),
            description=f"The books beside the chain and beside Airtm. {_WHO}",
        ),
        Route(
            "POST",
            "/admin/treasury/transfers",
            "treasury.transfer",
            "Move capital to a user's balance",
            transfer,
            **support,
            status=201,
            body=CapitalTransferBody,
            answer=CapitalMovementAnswer,
            errors=(
                ProviderNotEnabled,
                UserNotFound,
                UserNotActive,
                InvalidAmountFormat,
                TreasuryShort,
                InvalidState,
            ),
            description=f"The way to take capital out: a user of yours gets it, and withdraws it. {_WHO}",
        ),
        Route(
            "POST",
            "/admin/treasury/rebalancings",
            "treasury.rebalance",
            "Book capital that moved into Airtm or out of it",
            rebalance,
            **support,
            status=201,
            body=RebalancingBody,
            answer=CapitalMovementAnswer,
            errors=(ProviderNotEnabled, InvalidAmountFormat, InvalidState),
            description=f"It moves nothing by itself: book what you did at Airtm. {_WHO}",
        ),
    )
