"""Money in a contract that the order did not put there: who gets it when the contract is resolved. Pure.

Anyone can send USDC to a contract, and funding it twice deposits twice (providers.md 5.3). A release pays the
order's amount and leaves the rest where it is. A resolution must share out the whole balance, so the rest has to go
somewhere: it goes back to whoever paid the contract in. Less than a cent goes along with the seller's part where the
buyer gets nothing else, because a contract shares odd sums out to one party only (providers.md 5.6).
"""

from offerhub.errors import ProviderError
from offerhub.kernel.money import UNITS_PER_CENT, Units, format_chain_amount
from offerhub.providers.trustless_work.intents import ResolveIntent


def with_surplus(seller: int, buyer: int, surplus: int) -> tuple[int, int]:
    """The parts of seller and buyer before fees, in units, with what else lies in the contract.

    >>> with_surplus(600, 400, 7), with_surplus(1_000, 0, 7), with_surplus(1_000, 0, 300_000)
    ((600, 407), (1007, 0), (1000, 300000))
    """
    if buyer == 0 and surplus < UNITS_PER_CENT:
        return seller + surplus, 0
    return seller, buyer + surplus


def share_out(intent: ResolveIntent, depositor: str, balance: int) -> ResolveIntent:
    """The same decision about all that a contract holds, in units; `depositor` is who paid it in.

    A contract that holds less than was decided about keeps the intent as it is, and will refuse it.
    """
    parts = dict(intent.distributions)
    surplus = balance - sum(parts.values())
    if surplus <= 0:
        return intent
    back = parts.pop(depositor, 0)
    others, back = with_surplus(sum(parts.values()), back, surplus)
    if back:
        shared = tuple((address, Units(amount)) for address, amount in (*parts.items(), (depositor, back)))
    else:
        [address] = parts
        shared = ((address, Units(others)),)
    return ResolveIntent(intent.contract_id, intent.signer, shared)


def is_odd(intent: ResolveIntent) -> bool:
    """True when several parties share an amount that is no whole number of cents, which a contract may refuse."""
    total = sum(amount for _, amount in intent.distributions)
    return len(intent.distributions) > 1 and total % UNITS_PER_CENT != 0


def odd_refusal(refusal: ProviderError, intent: ResolveIntent) -> ProviderError:
    """The refusal of an odd amount, with what has to be done about it."""
    missing = -sum(amount for _, amount in intent.distributions) % UNITS_PER_CENT
    return ProviderError(
        "The contract does not share out an amount with a fraction of a cent between two parties."
        " Send `details.topUp` USDC to it, then try again.",
        **{**refusal.details, "contract": intent.contract_id, "topUp": format_chain_amount(missing)},
    )
