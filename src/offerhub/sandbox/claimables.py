"""What identifies a claimable balance."""

from stellar_sdk import StrKey

from offerhub.sandbox.envelope import Envelope


def held_by(claimable: str) -> str:
    """The address (B…) of a claimable balance, from its id in hexadecimal."""
    # The id is a union whose tag has four bytes; the address keeps only the last of them.
    return StrKey.encode_claimable_balance(bytes.fromhex(claimable)[3:])


def claimable_id(envelope: Envelope, index: int) -> str:
    """The id of the claimable balance that the operation at this place makes, in hexadecimal."""
    return envelope.transaction.get_claimable_balance_id(index)
