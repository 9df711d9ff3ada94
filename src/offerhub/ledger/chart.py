"""The chart of accounts: which kinds there are, and who owns an account of each kind.

Amounts are credit-positive: a positive `available` is what we owe the user, a negative `world:stellar` is what
we hold for them on the chain. The sum over all accounts is zero, always.
"""

from enum import StrEnum


class Kind(StrEnum):
    """A kind of account. The first four have a floor of zero; owners are users, except orders for ESCROW.

    WORLD_TREASURY is the part of the chain that the treasury's own account holds, CAPITAL_TREASURY what the operator
    has put into it; with the rail of Stellar nothing is ever posted to either.
    """

    AVAILABLE = "available"
    RESERVED = "reserved"
    WITHDRAWING = "withdrawing"
    ESCROW = "escrow"
    WORLD_STELLAR = "world:stellar"
    WORLD_AIRTM = "world:airtm"
    WORLD_TREASURY = "world:treasury"
    WORLD_MANUAL = "world:manual"
    CAPITAL_TREASURY = "capital:treasury"
    FEES_PLATFORM = "fees:platform"
    FEES_TRUSTLESS_WORK = "fees:trustless_work"
