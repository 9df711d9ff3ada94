"""How much of an asset went from whom to whom since the beginning: what a test holds its books against."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from offerhub.kernel.money import format_chain_amount, parse_chain_amount
from offerhub.sandbox.history import History


def flows(history: History, asset: str) -> list[dict[str, Any]]:
    """`{"from", "to", "amount", "count"}` for each pair between which the asset moved; `asset` is `CODE:ISSUER`."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for operation in history.payments:
        if not operation.success:
            continue
        for source, target, units in movements(operation.body, asset):
            sums[source, target] += units
            counts[source, target] += 1
    return [
        {"from": source, "to": target, "amount": format_chain_amount(units), "count": counts[source, target]}
        for (source, target), units in sums.items()
    ]


def movements(body: dict[str, Any], asset: str) -> Iterator[tuple[str, str, int]]:
    """`(from, to, units)` of an asset in one operation as Horizon tells it."""
    for told in (body, *body.get("asset_balance_changes", ())):
        if f"{told.get('asset_code')}:{told.get('asset_issuer')}" == asset and "amount" in told:
            # A mint names no source and a burn no target: that is the issuer.
            issuer = told["asset_issuer"]
            yield told.get("from", issuer), told.get("to", issuer), parse_chain_amount(told["amount"])
