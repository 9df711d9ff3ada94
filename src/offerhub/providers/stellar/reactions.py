"""What to do about each answer to a submission: the result table of providers.md 6.4, row by row. Light.

Whatever the network says when it does not take an envelope, the envelope's hash is looked up first. These reactions
are for one that no ledger holds; none of them builds a new envelope while the old one could still be included.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Reaction(Enum):
    """What is done about an envelope that was not taken."""

    RAISE_BID = "raise_bid"
    """Wrap the same envelope with a higher bid, within the cap."""
    LOOK_AT_SEQUENCE = "look_at_sequence"
    """Has another transaction used its sequence number up? Once that is certain, a new envelope is built."""
    WAIT = "wait"
    """Send the same bytes again, until a ledger holds them or has closed past their time bound."""
    ADD_XLM = "add_xlm"
    """Somebody has to send XLM to the account that pays; wait, and raise an alarm."""
    ALARM = "alarm"
    """Wait, and raise an alarm: a person has to look."""
    GIVE_UP = "give_up"
    """A bug: it would be refused for ever. The step is refused, but not before the time bound has passed."""
    COMPENSATE = "compensate"
    """A ledger holds it, and it failed there: final for this intent."""


REACTIONS: Final[Mapping[str, Reaction]] = {
    "tx_bad_seq": Reaction.LOOK_AT_SEQUENCE,
    "tx_too_late": Reaction.WAIT,
    "tx_too_early": Reaction.WAIT,
    "tx_insufficient_fee": Reaction.RAISE_BID,
    "tx_insufficient_balance": Reaction.ADD_XLM,
    "tx_bad_auth": Reaction.GIVE_UP,
    "tx_bad_auth_extra": Reaction.GIVE_UP,
    "tx_no_source_account": Reaction.ALARM,
    "tx_internal_error": Reaction.WAIT,
    "tx_failed": Reaction.COMPENSATE,
    # Not in the table, and bugs all the same: the bytes themselves are wrong.
    "tx_missing_operation": Reaction.GIVE_UP,
    "tx_malformed": Reaction.GIVE_UP,
    "tx_not_supported": Reaction.GIVE_UP,
    "tx_soroban_invalid": Reaction.GIVE_UP,
    "transaction_malformed": Reaction.GIVE_UP,
    "tx_bad_sponsorship": Reaction.GIVE_UP,
}
"""By code; that of a fee bump whose inner transaction was refused (`tx_fee_bump_inner_failed`) is the inner one's."""

ALARMING: Final = frozenset({Reaction.ADD_XLM, Reaction.ALARM, Reaction.GIVE_UP})


def reaction(code: str) -> Reaction:
    """What to do about a code; an unknown one is waited for, with an alarm."""
    return REACTIONS.get(code, Reaction.ALARM)
