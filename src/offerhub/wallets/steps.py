"""Setting a wallet up on the chain: an account with a trustline to USDC, paid for by whoever can."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from offerhub.errors import InternalError, Refusal, StellarNetworkError, WalletShortfall
from offerhub.events.journal import Event, record
from offerhub.kernel.clock import Clock
from offerhub.kernel.money import Units, format_amount
from offerhub.providers.stellar.horizon import Horizon
from offerhub.runtime.database import Tx
from offerhub.sagas.chain import Approved, Chain, ChainCall
from offerhub.sagas.model import Facts, Outcome, Refused, Saga, Settled, Step, Unavailable
from offerhub.wallets import store
from offerhub.wallets.service import PROVISION

ENVELOPE_SECONDS: Final = 120
"""How long an envelope of ours may wait for a ledger; 60 to 180 s is the useful range (providers.md 6.4)."""
CLASSIC_FEE_MAX_STROOPS: Final = 100_000
"""0.01 XLM bid for a transaction of one or two operations; the network charges its price, not the bid."""
STARTING_XLM: Final = Units(30_000_000)
"""3 XLM: 1.5 of reserve for an account with one trustline, the rest for its escrow fees."""


class OwnTransactions:
    """Envelopes that we build ourselves, for an account of ours."""

    def __init__(self, horizon: Horizon, clock: Clock) -> None:
        self.horizon = horizon
        self._clock = clock

    async def next_sequence(self, address: str) -> int:
        """The sequence number that the account must use next. Raises StellarNetworkError when it does not exist."""
        account = await self.horizon.account(address)
        if account is None:
            raise StellarNetworkError("The account does not exist on the chain yet.", account=address)
        return account.sequence + 1

    def deadline(self) -> int:
        """The upper time bound for an envelope built now, in epoch seconds."""
        return int((self._clock.now() + timedelta(seconds=ENVELOPE_SECONDS)).timestamp())

    async def submit(self, xdr: str) -> str:
        """Send the bytes; the answer is a hint."""
        return repr(await self.horizon.submit(xdr))

    def approve(self, xdr: str) -> Approved:
        """We built it: read what has to be stored with it."""
        from offerhub.providers.stellar.envelope import decode

        decoded = decode(xdr, self.horizon.network.passphrase)
        assert decoded.max_time is not None
        return Approved(decoded.hash, decoded.source, decoded.sequence, datetime.fromtimestamp(decoded.max_time, UTC))


@dataclass(frozen=True, slots=True)
class FundAccount:
    """The account must exist: a friendbot creates it on a test network, elsewhere the operator does."""

    horizon: Horizon
    name: str = "fund_account"

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Ask for XLM unless the account is there."""
        address = saga.input["address"]
        try:
            if await self.horizon.account(address) is None:
                if saga.input["funding"] != "friendbot":
                    return Unavailable(
                        StellarNetworkError("Send XLM to this account.", account=address), patient=True
                    )
                await self.horizon.friendbot(address)
        except StellarNetworkError as error:
            return Unavailable(error, patient=True)
        return Settled({"address": address})

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Nothing to write: the account's existence is the chain's fact."""


@dataclass(frozen=True, slots=True)
class AddTrustline:
    """The account must trust USDC; its own key signs."""

    chain: Chain
    own: OwnTransactions
    name: str = "add_trustline"

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Make the trustline transaction."""
        address = saga.input["address"]

        async def build() -> str:
            from offerhub.providers.stellar import transactions

            network = self.own.horizon.network
            sequence = await self.own.next_sequence(address)
            return transactions.build_trustline(
                network.passphrase,
                source=address,
                sequence=sequence,
                asset=network.usdc,
                fee=CLASSIC_FEE_MAX_STROOPS,
                max_time=self.own.deadline(),
            ).xdr

        return await self.chain.carry(
            saga, position, ChainCall(address, build, self.own.approve, self.own.submit, patient=True)
        )

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Nothing to write before the plan's end."""


@dataclass(frozen=True, slots=True)
class CreateAccount:
    """The platform pays for the account and its trustline, in one transaction that both keys sign."""

    chain: Chain
    own: OwnTransactions
    name: str = "create_account"

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Make the transaction from the platform's account."""
        address, funder = saga.input["address"], saga.input["funder"]
        if funder is None:
            missing = InternalError("there is no platform wallet: run `offerhub bootstrap`")
            return Unavailable(missing, patient=True)

        async def build() -> str:
            from offerhub.providers.stellar import transactions

            network = self.own.horizon.network
            sequence = await self.own.next_sequence(funder)
            return transactions.build_create_account_with_trustline(
                network.passphrase,
                funder=funder,
                sequence=sequence,
                account=address,
                starting_xlm=STARTING_XLM,
                asset=network.usdc,
                fee=CLASSIC_FEE_MAX_STROOPS,
                max_time=self.own.deadline(),
            ).xdr

        call = ChainCall(funder, build, self.own.approve, self.own.submit, cosigners=(address,), patient=True)
        return await self.chain.carry(saga, position, call)

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Nothing to write before the plan's end."""


@dataclass(frozen=True, slots=True)
class CheckBacking:
    """A wallet must hold on the chain what is about to leave it: a manual credit alone backs nothing."""

    horizon: Horizon
    address: str
    amount: int
    name: str = "check_backing"

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Read the wallet's balance on the chain."""
        try:
            account = await self.horizon.account(self.address)
        except StellarNetworkError as error:
            return Unavailable(error)
        held = 0 if account is None or account.usdc is None else int(account.usdc)
        if held < self.amount:
            shortfall = WalletShortfall(
                requested=format_amount(self.amount),
                available=format_amount(held),
                shortfall=format_amount(self.amount - held),
                address=self.address,
                currency="USD",
            )
            return Refused(shortfall)
        return Settled({"held": held})

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Nothing to write: it was a look."""


class Provision:
    """Plan `wallet.provision`: input `{address, userId, funding: friendbot|operator|platform, funder?}`."""

    kind = PROVISION

    def __init__(self, chain: Chain, own: OwnTransactions) -> None:
        self._chain = chain
        self._own = own

    def steps(self, saga: Saga) -> Sequence[Step]:
        """An account and its trustline, in one step when the platform pays."""
        if saga.input["funding"] == "platform":
            return (CreateAccount(self._chain, self._own),)
        return (FundAccount(self._own.horizon), AddTrustline(self._chain, self._own))

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        """The wallet is ready to receive."""
        await store.mark_ready(tx, saga.subject_id)
        user_id = saga.input["userId"]
        payload = {"userId": user_id, "stellarAddress": saga.input["address"]}
        await record(
            tx, saga.actor, events=[Event("user.stellar_linked", "Wallet", saga.subject_id, payload, user_id)]
        )

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        """The wallet stays PENDING and is tried again; the saga and its refusal are there for the operator."""
