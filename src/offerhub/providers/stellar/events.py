"""What RPC's events say, read into credits (CAP-67, providers.md 6.6). Pure.

Payments, path payments, claims and contract calls all emit the same `transfer`, or `mint` when the issuer pays. An
event's id is `<TOID>-<index>`, where the TOID counts operations from 0, and Horizon's from 1: a credit gets Horizon's
number, so that both name it alike (decision 0045).
"""

import base64
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, Final

from offerhub.kernel.money import Units
from offerhub.providers.stellar import scvals
from offerhub.providers.stellar.network import Network
from offerhub.providers.stellar.records import Transfer, TransferPage, Unreadable, moment

INT64_MAX: Final = 2**63 - 1
_ID: Final = re.compile(r"\d{19}-\d{10}")
_LEDGER_SHIFT: Final = 32


def read_credits(result: Mapping[str, Any], cursor: str, limit: int, network: Network) -> TransferPage:
    """The credits of a page of `getEvents` asked for with a cursor.

    A page of `limit` events may end in the middle of an operation: that one is left for the next page, and when it is
    all there is, the page's cursor is None. An operation with an event that cannot be read is put aside as a whole:
    nobody knows which credit of its is which. Raises KeyError, TypeError, ValueError for an answer of another shape.
    """
    after = str(result["cursor"])
    if not _ID.fullmatch(after) or after < cursor:
        raise ValueError(f"the cursor went from {cursor} to {after}"[:120])
    cut = len(result["events"]) >= limit
    # A node may tell an event twice, and one that was told before.
    events = {_place(event): event for event in result["events"]}
    known = [events[place] for place in sorted(events) if place > cursor]
    operations = [list(group) for _, group in groupby(known, key=_operation)]
    if cut and operations:
        operations.pop()
        after = _place(operations[-1][-1]) if operations else ""
    transfers: list[Transfer] = []
    unreadable: list[Unreadable] = []
    for operation in operations:
        try:
            transfers += _credits(operation, network)
        except (LookupError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"[:200]
            unreadable.append(Unreadable(_operation(operation[0]), reason, {"events": operation}))
    # A node scans so many ledgers at once, and may stop short of the last one without having found anything.
    ledger = None if cut else int(after.partition("-")[0]) >> _LEDGER_SHIFT
    is_full = ledger is None or ledger < int(result["latestLedger"])
    return TransferPage(tuple(transfers), tuple(unreadable), after or None, is_full, None if is_full else ledger)


def _place(event: Mapping[str, Any]) -> str:
    place = str(event["id"])
    if not _ID.fullmatch(place):
        raise ValueError(f"not the id of an event: {place[:40]}")
    return place


def _operation(event: Mapping[str, Any]) -> str:
    """The operation of an event as Horizon numbers it."""
    return str(int(_place(event).partition("-")[0]) + 1)


def _credits(events: Iterable[Mapping[str, Any]], network: Network) -> list[Transfer]:
    """The credits of one operation to accounts, in order, counted for each account."""
    counted: Counter[str] = Counter()
    found: list[Transfer] = []
    for event in events:
        if event["contractId"] != network.usdc_contract or event.get("inSuccessfulContractCall") is False:
            continue
        kind = scvals.symbol(event["topic"][0])
        if kind not in {"transfer", "mint"}:
            continue
        # The asset is the last topic; before protocol 23 a mint named the administrator first.
        receiver = scvals.address(event["topic"][-2])
        sender = scvals.address(event["topic"][1]) if kind == "transfer" else network.usdc_issuer
        if not receiver.startswith("G"):
            continue
        found.append(_transfer(event, network, sender, receiver, counted[receiver]))
        counted[receiver] += 1
    return found


def _transfer(event: Mapping[str, Any], network: Network, sender: str, receiver: str, index: int) -> Transfer:
    if scvals.string(event["topic"][-1]) != str(network.usdc):
        raise ValueError("another asset's name on an event of this token")
    units, memo = scvals.amount(event["value"])
    if not 0 <= units <= INT64_MAX:
        raise ValueError(f"an amount of {units}")
    operation = _operation(event)
    return Transfer(
        operation_id=operation,
        index=index,
        kind="event",
        transaction_hash=str(event["txHash"]),
        ledger=int(operation) >> _LEDGER_SHIFT,
        created_at=moment(event["ledgerClosedAt"]),
        from_address=sender,
        to_address=receiver,
        # A memo that is a number and the id of an M… address look alike here, and mean the same.
        to_muxed_id=memo if isinstance(memo, int) else None,
        amount=Units(units),
        asset=network.usdc,
        memo=_memo_text(memo),
        memo_type="none" if memo is None else {int: "id", str: "text", bytes: "hash"}[type(memo)],
    )


def _memo_text(memo: int | str | bytes | None) -> str | None:
    if isinstance(memo, bytes):
        return base64.b64encode(memo).decode()
    return None if memo is None else str(memo)
