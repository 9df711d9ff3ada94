"""The account on the ledger where Airtm keeps its users' USDC, and what passes through it.

It is made by a transaction of its own once Connect is switched on, and again after the network was reset.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from stellar_sdk import ChangeTrust, CreateAccount, Payment, TextMemo

from offerhub.kernel.money import format_chain_amount
from offerhub.sandbox.chain import Chain, Rejected
from offerhub.sandbox.flows import movements
from offerhub.sandbox.history import OperationRecord
from offerhub.sandbox.house import House
from offerhub.sandbox.results import transaction_code_name
from offerhub.sandbox.state import asset_name

_XLM: Final = "10000"


@dataclass(frozen=True, slots=True)
class Arrival:
    """USDC that reached the account. `memo` is the text of the transaction's memo, if it has one of that type."""

    operation: int
    hash: str
    sender: str
    amount: int
    memo: str | None
    closed_at: int


@dataclass(frozen=True, slots=True)
class Fate:
    """What has become of a payment: `gone` is one that no ledger took and none will."""

    state: Literal["paid", "failed", "waiting", "gone"]
    words: str = ""


class Custody:
    """Airtm's account for Connect."""

    def __init__(self, chain: Chain, house: House) -> None:
        self._chain = chain
        self._house = house
        self._keypair = chain.cast.keypair("airtm-connect")
        self._usdc = asset_name(chain.cast.usdc)
        self._read = 0

    @property
    def address(self) -> str:
        """Where it is (G…)."""
        return self._keypair.public_key

    @property
    def epoch(self) -> int:
        """How often the network has begun anew."""
        return self._chain.epoch

    @property
    def balance(self) -> int:
        """The USDC in it, in units."""
        return self._chain.state.balance_of(self._usdc, self.address)

    def now(self) -> int:
        """The time at which a ledger would close at this moment."""
        return self._chain.now()

    def open(self) -> None:
        """Ask for the account, unless it is there: the next ledger has it."""
        if self.address in self._chain.state.accounts:
            return
        friendbot = self._chain.cast.friendbot
        operations = [
            CreateAccount(self.address, _XLM, source=friendbot.public_key),
            ChangeTrust(self._chain.cast.usdc, source=self.address),
        ]
        envelope = self._house.prepared(operations, [friendbot, self._keypair])
        if envelope is not None:
            self._chain.enqueue(envelope)

    async def give(self, amount: int, memo: str) -> None:
        """Issue USDC to the account. Raises HouseRefused."""
        await self._house.mint(self.address, amount, TextMemo(memo))

    def rewind(self) -> None:
        """Begin again at the first payment."""
        self._read = 0

    def arrivals(self) -> Iterator[Arrival]:
        """What has come since the last time, in the order of the ledger."""
        payments = self._chain.history.account_payments[self.address]
        new, self._read = payments[self._read :], len(payments)
        for operation in new:
            if operation.success:
                yield from self._credits(operation)

    def prepare(self, address: str, amount: int, memo: str | None) -> str | None:
        """A signed payment, not offered yet; None while everything that could carry it waits for a ledger."""
        payment = Payment(address, self._chain.cast.usdc, format_chain_amount(amount), source=self.address)
        envelope = self._house.prepared([payment], [self._keypair], None if memo is None else TextMemo(memo))
        return None if envelope is None else envelope.xdr

    def offer(self, xdr: str) -> Fate:
        """Offer a payment to the network, the same one as often as one likes; what has become of it so far."""
        envelope = self._chain.decode(xdr)
        record = self._chain.history.by_hash.get(envelope.hash)
        if record is not None and record.success:
            return Fate("paid")
        if record is not None:
            return Fate("failed", ", ".join(one.code for one in record.outcome.operations))
        try:
            self._chain.enqueue(envelope)
        except Rejected as rejected:
            return Fate("gone", transaction_code_name(rejected.outcome.code))
        return Fate("waiting")

    def hash_of(self, xdr: str) -> str:
        """The hash of a payment."""
        return self._chain.decode(xdr).hash

    def _credits(self, operation: OperationRecord) -> Iterator[Arrival]:
        transaction = operation.transaction
        memo = transaction.envelope.transaction.memo
        text = memo.memo_text.decode("utf-8", "replace") if isinstance(memo, TextMemo) else None
        for sender, target, amount in movements(operation.body, self._usdc):
            if target == self.address:
                yield Arrival(operation.id, transaction.envelope.hash, sender, amount, text, transaction.closed_at)
