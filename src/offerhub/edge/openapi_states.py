"""What the states of the API's resources mean, for the API's document: from the machines, beside their values."""

from collections.abc import Mapping
from typing import Any, Final

from offerhub.disputes.states import DISPUTE
from offerhub.escrows.states import ESCROW, MILESTONE_PAYOUT
from offerhub.findings.states import FINDING
from offerhub.kernel.states import Machine
from offerhub.orders.states import MILESTONE, ORDER
from offerhub.topups.states import TOPUP
from offerhub.users.states import USER
from offerhub.wallets.states import WALLET
from offerhub.webhook_endpoints.states import WEBHOOK_DELIVERY, WEBHOOK_ENDPOINT
from offerhub.withdrawals.states import WITHDRAWAL

MACHINES: Final = (
    USER,
    WALLET,
    ORDER,
    MILESTONE,
    ESCROW,
    MILESTONE_PAYOUT,
    DISPUTE,
    TOPUP,
    WITHDRAWAL,
    FINDING,
    WEBHOOK_ENDPOINT,
    WEBHOOK_DELIVERY,
)
"""What a client meets, in the order in which it does."""

_BY_STATES: Final[Mapping[frozenset[str], Machine]] = {one.states: one for one in MACHINES}


def machine_of(values: Any) -> Machine | None:
    """The machine that has exactly these states, if there is one."""
    return _BY_STATES.get(frozenset(values)) if all(isinstance(value, str) for value in values) else None


def explained(schema: Any) -> Any:
    """The same schema, in which each enumeration of states says what they mean (`x-enumDescriptions`)."""
    if isinstance(schema, list):
        return [explained(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: explained(part) for name, part in schema.items()}
    values = made.get("enum")
    one = machine_of(values) if isinstance(values, list) else None
    if one is not None:
        made["x-enumDescriptions"] = {state: one.told[state].meaning for state in one.moves}
    return made
