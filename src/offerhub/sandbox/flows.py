"""How much of an asset went from whom to whom since the beginning: what a test holds its books against."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from offerhub.kernel.money import format_chain_amount, parse_chain_amount
from offerhub.sandbox.history import History


class Flows:
    """The sums of an asset, `CODE:ISSUER`; each payment of the history is looked at once, however often one asks."""

    def __init__(self, history: History, asset: str) -> None:
        self._history = history
        self._asset = asset
        self._begin()

    def _begin(self) -> None:
        self._payments = self._history.payments
        self._seen = 0
        self._sums: dict[tuple[str, str], int] = defaultdict(int)
        self._counts: dict[tuple[str, str], int] = defaultdict(int)

    def told(self, addresses: Collection[str]) -> list[dict[str, Any]]:
        """`{"from", "to", "amount", "count"}` for each pair between which it moved; only those of these addresses."""
        if self._payments is not self._history.payments:
            self._begin()  # the network has been reset
        for operation in self._payments[self._seen :]:
            for source, target, units in movements(operation.body, self._asset) if operation.success else ():
                self._sums[source, target] += units
                self._counts[source, target] += 1
        self._seen = len(self._payments)
        return [
            {"from": pair[0], "to": pair[1], "amount": format_chain_amount(units), "count": self._counts[pair]}
            for pair, units in self._sums.items()
            if not addresses or pair[0] in addresses or pair[1] in addresses
        ]


def movements(body: dict[str, Any], asset: str) -> Iterator[tuple[str, str, int]]:
    """`(from, to, units)` of an asset in one operation as Horizon tells it."""
    for told in (body, *body.get("asset_balance_changes", ())):
        if f"{told.get('asset_code')}:{told.get('asset_issuer')}" == asset and "amount" in told:
            # A mint names no source and a burn no target: that is the issuer.
            issuer = told["asset_issuer"]
            yield told.get("from", issuer), told.get("to", issuer), parse_chain_amount(told["amount"])
