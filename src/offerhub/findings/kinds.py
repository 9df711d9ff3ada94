"""Every kind of finding: what it means, and what is to be done about it.

A part of the program that finds something new adds its kind here, and to docs/operating/reconciliation.md.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Kind(NamedTuple):
    """What a finding of this kind says, and the next action of a person, both in Markdown."""

    means: str
    next_action: str


_TRUSTLESS: Final = (
    "Look the contract up on a Stellar explorer. If the chain agrees with the books, Trustless Work's index "
    "lags: wait. "
)

_STOLEN: Final = (
    "Look the addresses in `evidence` up on a Stellar explorer. Missing money: stop changes (maintenance), find the "
    "payment that this service did not make, and treat the key as stolen. Too much: run `check-missed-deposits`,"
)
_ACCEPTED: Final = (
    "Resolve it once you know why: later looks take the difference as known, and only another one is a new finding."
)

KINDS: Final[Mapping[str, Kind]] = {
    "NO_SAGA": Kind(
        "An escrow is on its way (`CREATING`, `FUNDING`, `RELEASING`, `REFUNDING`), and no saga carries it.",
        "Keep the log lines of its order, run `offerhub prove`, and report it. Nothing moves its money meanwhile.",
    ),
    "CONTRACT_UNKNOWN": Kind(
        "Trustless Work knows no contract of this escrow.",
        f"{_TRUSTLESS}If it lasts for an hour, ask Trustless Work about the contract.",
    ),
    "OTHER_TERMS": Kind(
        "The contract names another order or another amount than the escrow.",
        "Stop new orders (maintenance) and treat it as a security incident; ask Trustless Work over another channel.",
    ),
    "PAID_OUT": Kind(
        "The contract has paid out, and the escrow was neither released nor refunded by this service.",
        f"{_TRUSTLESS}Otherwise somebody with one of its keys paid it out: find out who, then book what happened.",
    ),
    "DISPUTE_UNKNOWN": Kind(
        "The contract is in a dispute that this service did not raise.",
        f"{_TRUSTLESS}Otherwise find out which key raised it; the order's money is safe in the contract meanwhile.",
    ),
    "MONEY_MISSING": Kind(
        "The contract of a funded escrow holds less than the order's amount, or than its unpaid milestones.",
        f"{_TRUSTLESS}Otherwise stop new orders (maintenance) and report it to Trustless Work: "
        "the money is gone there.",
    ),
    "NOT_PAID_OUT": Kind(
        "A milestone was paid out, and its multi-release contract says that it was not.",
        f"{_TRUSTLESS}Otherwise run `offerhub prove` and compare the transaction of its payout with the chain.",
    ),
    "FUNDED_UNBOOKED": Kind(
        "The contract holds the order's amount, and the books say that it was not funded.",
        f"{_TRUSTLESS}Otherwise the funding was done outside of this service: release or refund it there, "
        "and ask who did it.",
    ),
    "SURPLUS": Kind(
        "The contract holds more than this service has put in: somebody else has sent to it.",
        "Nothing: a refund or the decision of a dispute gives it back to the buyer; a release leaves it there.",
    ),
    "SURPLUS_LEFT": Kind(
        "A release has left a surplus in the contract: money that somebody else had sent to it.",
        "Find out who sent it. Only the contract's roles can bring it out, by a dispute and its resolution. "
        "Resolve the finding when that is decided.",
    ),
    "PAYIN_MISMATCH": Kind(
        "What Airtm says of a payin is not followed: another amount, another payer than the linked account, nothing "
        "that arrived, an end that contradicts an earlier one, a status that nobody knows, no such payin any more.",
        "`evidence.fault` says which. Nothing was credited or given up by it. Look the payin up at Airtm and ask its "
        "support; a status that nobody knows is followed by itself once Airtm says one that is known.",
    ),
    "PAYOUT_MISMATCH": Kind(
        "What Airtm says of a payout is not followed: another amount, an end that contradicts an earlier one, "
        "trouble for more than an hour, a status that nobody knows, or no such payout any more.",
        "`evidence.fault` says which. The money stays where it is held. Look the payout up at Airtm and ask its "
        "support; whatever Airtm says next is followed by itself, and what it gives back is credited by itself.",
    ),
    "REFUND_UNEXPLAINED": Kind(
        "Airtm gave money back to our account, and it is not certain whose it is: its payout is none of ours, was "
        "given back before, was smaller, or had not been paid.",
        "Find the deposit at Airtm. What is yours: book it as a rebalancing `INTO_AIRTM` under the deposit's id. "
        "What is a user's: book that, and then transfer the capital to the user (`POST /admin/treasury/transfers`).",
    ),
    "DEPOSIT_QUARANTINED": Kind(
        "A deposit has arrived and could not be booked, or records of the chain (subject `unreadable`) could not be "
        "read. They are put aside in `quarantined_records`, and the watch has moved on.",
        "Read `evidence.reason`, and look the transaction up on a Stellar explorer. If it is a deposit, do what "
        'docs/operating/running.md says under "What was put aside": it is booked then. Resolve the finding.',
    ),
    "WALLET_DIFFERS": Kind(
        "A user's wallets hold another amount on the chain than the books say, at two looks in a row, while nothing "
        "of that user's was under way.",
        f"{_STOLEN} and look for a deposit that lies in a gap, or a contract that paid out by itself. {_ACCEPTED}",
    ),
    "TREASURY_DIFFERS": Kind(
        "The treasury's account holds another amount on the chain than the books say, by more than is under way, at "
        "two looks in a row.",
        f"{_STOLEN} and look for a deposit that lies in a gap. {_ACCEPTED}",
    ),
    "AIRTM_DIFFERS": Kind(
        "Airtm's balance is another one than the books say, by more than what is under way, at two looks in a row.",
        "Compare Airtm's statement with `GET /admin/treasury`. Capital that you moved there or away: book it as a "
        "rebalancing (`POST /admin/treasury/rebalancings`). Money missing otherwise: stop changes (maintenance) and "
        f"ask Airtm's support. {_ACCEPTED}",
    ),
    "BOOKS_VIOLATED": Kind(
        "The proof of the books found rows that violate one of its sentences.",
        "Stop changes (maintenance), run `offerhub prove`, and compare with the last backup: rows were changed by "
        "hand or by a bug. Correct only by compensating transactions.",
    ),
}


def require_known(kind: str) -> Kind:
    """The kind of this name. Raises ValueError for one that is not in the table."""
    if kind not in KINDS:
        raise ValueError(f"findings.kinds.KINDS has no kind {kind}")
    return KINDS[kind]
