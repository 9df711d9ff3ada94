"""What the Trustless Work API's own database knows of escrows: a projection beside the chain.

It learns of a contract from transactions that went through the API, or that it was told of by hash, and shows that
some seconds later. Rows show what was known then, unless they are to be validated on chain. After a restart it knows
everything replayed.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

from offerhub.kernel.money import UNITS_PER_ONE
from offerhub.sandbox.chain import Chain
from offerhub.sandbox.encoding import Escrow
from offerhub.sandbox.history import TransactionRecord
from offerhub.sandbox.multi_encoding import MultiEscrow, Part


@dataclass(frozen=True, slots=True)
class _Known:
    signer: str
    created_at: int
    updated_at: int
    escrow: Escrow | MultiEscrow
    balance: int


class EscrowIndex:
    """The list of escrows that the API answers from."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._known: dict[str, _Known] = {}
        self._coming: deque[tuple[float, str, _Known]] = deque()
        for record in chain.history.transactions:
            if record.success:
                self.learn(record)

    def learn(self, record: TransactionRecord) -> bool:
        """Take in a successful transaction; False when it has nothing to do with an escrow."""
        learned = False
        contracts = set(record.contracts)
        if record.returned_contract is not None:
            contracts.add(record.returned_contract)
        for contract in contracts & self._chain.state.escrows.keys():
            learned = True
            known = self._newest(contract)
            escrow, balance = self._chain.state.escrows[contract], self.balance(contract)
            if known is None:
                signer = record.envelope.source
                known = _Known(signer, record.closed_at, record.closed_at, escrow, balance)
            else:
                known = replace(known, updated_at=record.closed_at, escrow=escrow, balance=balance)
            visible_at = record.closed_at + self._chain.options.index_lag_seconds
            self._coming.append((visible_at, contract, known))
        return learned

    def _newest(self, contract: str) -> _Known | None:
        """What was learned last, shown or not."""
        found = (known for _, one, known in reversed(self._coming) if one == contract)
        return next(found, self._known.get(contract))

    def _catch_up(self) -> None:
        """Show what is old enough."""
        now = self._chain.clock.now()
        while self._coming and self._coming[0][0] <= now:
            _, contract, known = self._coming.popleft()
            self._known[contract] = known

    def balance(self, contract: str) -> int:
        """Units of its token that an escrow holds now."""
        asset = f"{self._chain.cast.usdc.code}:{self._chain.cast.usdc.issuer}"
        return self._chain.state.balance_of(asset, contract)

    def row(self, contract: str, *, fresh: bool) -> dict[str, Any] | None:
        """An escrow as lists show it; None when the API never heard of it."""
        self._catch_up()
        known = self._newest(contract) if fresh else self._known.get(contract)
        if known is None:
            return None
        if fresh and contract in self._chain.state.escrows:
            known = replace(known, escrow=self._chain.state.escrows[contract], balance=self.balance(contract))
        return _row(contract, known, self._chain)

    def rows_of(self, signer: str, engagement_id: str | None, *, fresh: bool) -> list[dict[str, Any]]:
        """The escrows that an account deployed, newest first."""
        self._catch_up()
        found = [
            self.row(contract, fresh=fresh)
            for contract, known in self._known.items()
            if known.signer == signer and engagement_id in {None, known.escrow.engagement_id}
        ]
        return [row for row in reversed(found) if row is not None]


def number(units: int) -> int | float:
    """Units as the JSON number in human units that the vendor's wire carries."""
    whole, rest = divmod(units, UNITS_PER_ONE)
    return whole if rest == 0 else units / UNITS_PER_ONE


def _row(contract: str, known: _Known, chain: Chain) -> dict[str, Any]:
    escrow, usdc = known.escrow, chain.cast.usdc
    percent = escrow.platform_fee / 100
    roles = escrow.roles
    row: dict[str, Any] = {
        "type": "multi-release" if isinstance(escrow, MultiEscrow) else "single-release",
        "contractId": contract,
        "signer": known.signer,
        "user": known.signer,
        "engagementId": escrow.engagement_id,
        "title": escrow.title,
        "description": escrow.description,
        "roles": {
            "approver": roles.approver,
            "serviceProvider": roles.service_provider,
            "platformAddress": roles.platform_address,
            "releaseSigner": roles.release_signer,
            "disputeResolver": roles.dispute_resolver,
        },
        "platformFee": int(percent) if percent.is_integer() else percent,
        "balance": number(known.balance),
        "trustline": {"address": usdc.issuer, "symbol": usdc.code, "name": usdc.code},
        "receiverMemo": escrow.receiver_memo,
        "isActive": True,
        "createdAt": {"_seconds": known.created_at, "_nanoseconds": 0},
        "updatedAt": {"_seconds": known.updated_at, "_nanoseconds": 0},
    }
    if isinstance(escrow, MultiEscrow):
        return row | {"milestones": [_part(part) for part in escrow.milestones]}
    row["roles"]["receiver"] = escrow.roles.receiver
    return row | {
        "amount": number(escrow.amount),
        "milestones": [
            {
                "description": milestone.description,
                "status": milestone.status,
                "evidence": milestone.evidence,
                "approved": milestone.approved,
            }
            for milestone in escrow.milestones
        ],
        "flags": {
            "disputed": escrow.disputed,
            "released": escrow.released,
            "resolved": escrow.resolved,
        },
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "description": part.description,
        "amount": number(part.amount),
        "receiver": part.receiver,
        "status": part.status,
        "evidence": part.evidence,
        "flags": {
            "approved": part.approved,
            "disputed": part.disputed,
            "released": part.released,
            "resolved": part.resolved,
        },
    }
