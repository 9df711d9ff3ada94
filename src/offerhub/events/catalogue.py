"""Events that more than one slice writes, with their payloads (contract 6.2)."""

from typing import Any, Literal, Protocol

from offerhub.events.journal import Event
from offerhub.kernel.money import format_amount, format_chain_amount

CreditSource = Literal[
    "topup", "refund", "release", "withdrawal_cancel", "stellar_deposit", "stellar_deposit_reconciled", "other"
]
DepositSource = Literal["stellar_deposit", "stellar_deposit_reconciled"]
"""Who saw a deposit: the watcher, or the search for what it missed."""
DebitDestination = Literal["withdrawal", "order", "fee", "other"]
ReleaseReason = Literal["cancel", "dispute", "escrow_funded", "other"]


class Around(Protocol):
    """A balance before and after, as the wire shows it."""

    @property
    def was(self) -> str:
        """Before."""
        ...

    @property
    def becomes(self) -> str:
        """After."""
        ...


def balance_credited(
    user_id: str, amount: int, source: CreditSource, source_id: str | None, available: Around
) -> Event:
    """A user's available balance went up by `amount` units; `available` is around it."""
    payload = {
        "userId": user_id,
        "amount": format_amount(amount),
        "currency": "USD",
        "source": source,
        "sourceId": source_id,
        "previousAvailableBalance": available.was,
        "newAvailableBalance": available.becomes,
    }
    return Event("balance.credited", "Balance", user_id, payload, user_id)


def deposit_credited(
    user_id: str, amount: int, transaction_hash: str, operation: str, available: Around, source: DepositSource
) -> Event:
    """A deposit from the chain; its amount has the chain's seven decimals."""
    credited = balance_credited(user_id, amount, source, operation, available)
    more = {
        "amount": format_chain_amount(amount),
        "transactionHash": transaction_hash,
        "newBalance": available.becomes,
    }
    return Event(credited.type, credited.aggregate_type, user_id, {**credited.payload, **more}, user_id)


def balance_debited(
    user_id: str, amount: int, destination: DebitDestination, destination_id: str | None, available: Around
) -> Event:
    """A user's available balance went down by `amount` units."""
    return Event(
        "balance.debited",
        "Balance",
        user_id,
        {
            "userId": user_id,
            "amount": format_amount(amount),
            "currency": "USD",
            "destination": destination,
            "destinationId": destination_id,
            "previousAvailableBalance": available.was,
            "newAvailableBalance": available.becomes,
        },
        user_id,
    )


def balance_reserved(user_id: str, amount: int, reference: str, available: Around, reserved: Around) -> Event:
    """Money of a user was set aside under a reference."""
    return Event(
        "balance.reserved",
        "Balance",
        user_id,
        _hold_payload(user_id, amount, reference, available, reserved),
        user_id,
    )


def balance_released(
    user_id: str, amount: int, reference: str, available: Around, reserved: Around, reason: ReleaseReason
) -> Event:
    """Money of a user is no longer set aside: given back, or moved on to what it was set aside for."""
    payload = _hold_payload(user_id, amount, reference, available, reserved)
    return Event("balance.released", "Balance", user_id, payload | {"reason": reason}, user_id)


def _hold_payload(user_id: str, amount: int, reference: str, available: Around, reserved: Around) -> dict[str, Any]:
    return {
        "userId": user_id,
        "amount": format_amount(amount),
        "currency": "USD",
        "orderId": reference,
        "previousReservedBalance": reserved.was,
        "newReservedBalance": reserved.becomes,
        "previousAvailableBalance": available.was,
        "newAvailableBalance": available.becomes,
    }
