"""The sandbox's own wallet: friendbot, USDC minting, outside wallets. All by real signed transactions."""

from collections.abc import Sequence

from stellar_sdk import (
    Account,
    ChangeTrust,
    CreateAccount,
    Keypair,
    Memo,
    Payment,
    TransactionBuilder,
    TransactionEnvelope,
)
from stellar_sdk.operation import Operation

from offerhub.kernel.money import format_chain_amount
from offerhub.sandbox.chain import Chain, Rejected, SubmissionTimeout
from offerhub.sandbox.credit_shapes import Shape, operations_of, soroban_data, transfer
from offerhub.sandbox.envelope import Envelope
from offerhub.sandbox.history import TransactionRecord
from offerhub.sandbox.results import transaction_code_name

FRIENDBOT_XLM = "10000"
_FEE_BIDS = 10
"""How much more than the minimum the house bids for each operation."""
_LIFETIME_SECONDS = 600


class AccountExists(Exception):
    """There is nothing to fund: the account is on the ledger already."""


class HouseRefused(Exception):
    """The network did not take or apply what was asked; the text names its codes."""


class House:
    """Gives away XLM and USDC on a chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._cast = chain.cast
        self._outside = 0

    async def fund(self, address: str) -> TransactionRecord:
        """Friendbot: 10,000 XLM for an account that does not exist yet. Raises AccountExists."""
        if address in self._chain.state.accounts:
            raise AccountExists(address)
        friendbot = self._cast.friendbot
        create = CreateAccount(address, FRIENDBOT_XLM, source=friendbot.public_key)
        try:
            return await self._through_minion([create], [friendbot])
        except HouseRefused as error:
            raise AccountExists(address) from error

    async def mint(self, address: str, units: int, memo: Memo | None) -> TransactionRecord:
        """Pay newly issued USDC. Raises HouseRefused, such as when the account has no trustline."""
        issuer = self._cast.issuer
        payment = Payment(address, self._cast.usdc, format_chain_amount(units), source=issuer.public_key)
        return await self._through_minion([payment], [issuer], memo)

    async def credit(
        self, shape: Shape, targets: Sequence[str], units: int, memo: Memo | None, muxed_id: int
    ) -> TransactionRecord:
        """Pay in one of the shapes of credit_shapes, with one transaction for all targets. Raises HouseRefused."""
        operations = operations_of(self._cast, shape, targets, units, muxed_id)
        signers = {"native": self._cast.friendbot, "impostor": self._cast.trustless_fee}
        return await self._through_minion(operations, [signers.get(shape, self._cast.issuer)], memo)

    async def open_outside_wallet(self) -> Keypair:
        """A funded account with a USDC trustline that nobody else knows."""
        keypair = self._next_outside()
        while keypair.public_key in self._chain.state.accounts:
            keypair = self._next_outside()
        friendbot = self._cast.friendbot
        operations = [
            CreateAccount(keypair.public_key, FRIENDBOT_XLM, source=friendbot.public_key),
            ChangeTrust(self._cast.usdc, source=keypair.public_key),
        ]
        await self._through_minion(operations, [friendbot, keypair])
        return keypair

    async def pay(self, payer: Keypair, target: str, units: int, memo: Memo | None) -> TransactionRecord:
        """Pay USDC from a wallet whose secret is known, to an account or a contract. Raises HouseRefused."""
        payment: Operation
        if target.startswith("C"):
            # A contract is paid by a call of the token's contract, and such a call carries no memo.
            payment, memo = transfer(self._cast, payer.public_key, target, units), None
        else:
            payment = Payment(target, self._cast.usdc, format_chain_amount(units))
        while self._chain.is_busy(payer.public_key):
            await self._next_ledger()
        return await self._submit(payer, [payment], [], memo)

    async def _through_minion(
        self, operations: Sequence[Operation], signers: Sequence[Keypair], memo: Memo | None = None
    ) -> TransactionRecord:
        """One transaction per source account per ledger: so the house has many sources."""
        while True:
            for minion in self._cast.minions:
                if not self._chain.is_busy(minion.public_key):
                    return await self._submit(minion, operations, signers, memo)
            await self._next_ledger()

    async def _submit(
        self, source: Keypair, operations: Sequence[Operation], signers: Sequence[Keypair], memo: Memo | None
    ) -> TransactionRecord:
        return await self._include(self._signed(source, operations, signers, memo))

    def prepared(
        self, operations: Sequence[Operation], signers: Sequence[Keypair], memo: Memo | None = None
    ) -> Envelope | None:
        """A signed transaction that is not offered to the network yet; None while every source waits for a ledger."""
        minion = next((one for one in self._cast.minions if not self._chain.is_busy(one.public_key)), None)
        if minion is None:
            return None
        return self._chain.decode(self._signed(minion, operations, signers, memo).to_xdr())

    def _signed(
        self, source: Keypair, operations: Sequence[Operation], signers: Sequence[Keypair], memo: Memo | None
    ) -> TransactionEnvelope:
        account = self._chain.state.accounts.get(source.public_key)
        if account is None:
            raise HouseRefused("tx_no_source_account")
        bid = self._chain.state.rules.base_fee * _FEE_BIDS
        builder = TransactionBuilder(
            Account(account.id, account.sequence),
            self._cast.network_passphrase,
            base_fee=bid,
        )
        builder.add_time_bounds(0, self._chain.now() + _LIFETIME_SECONDS)
        for operation in operations:
            builder.append_operation(operation)
        if memo is not None:
            builder.add_memo(memo)
        data = soroban_data(operations)
        if data is not None:
            builder.set_soroban_data(data)
        envelope = builder.build()
        for signer in (source, *signers):
            envelope.sign(signer)
        return envelope

    async def _include(self, envelope: TransactionEnvelope) -> TransactionRecord:
        decoded = self._chain.decode(envelope.to_xdr())
        try:
            offered = self._chain.offer(decoded)
            if self._nobody_closes:
                self._chain.close()
            record = await self._chain.inclusion(decoded, offered)
        except Rejected as rejected:
            raise HouseRefused(transaction_code_name(rejected.outcome.code)) from rejected
        except SubmissionTimeout as timeout:
            raise HouseRefused("the transaction was dropped") from timeout
        if not record.success:
            raise HouseRefused(", ".join(operation.code for operation in record.outcome.operations))
        return record

    def _next_outside(self) -> Keypair:
        self._outside += 1
        return self._cast.keypair(f"outside:{self._outside}")

    async def _next_ledger(self) -> None:
        if self._nobody_closes:
            self._chain.close()
        else:
            await self._chain.closed.wait()

    @property
    def _nobody_closes(self) -> bool:
        """True when no clock runs that would close the ledger that this waits for."""
        return self._chain.ledger_seconds == 0 or self._chain.clock.mode == "stepped"
