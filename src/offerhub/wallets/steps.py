"""Setting a wallet up on the chain: an account with a trustline to USDC, paid for by whoever can."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from offerhub.errors import Refusal, StellarNetworkError, TreasuryShort, WalletShortfall
from offerhub.events.journal import Event, record
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import format_amount
from offerhub.providers.stellar.fees import Fees
from offerhub.providers.stellar.horizon import Horizon, Submission
from offerhub.providers.stellar.records import BASE_RESERVE
from offerhub.runtime.database import Tx
from offerhub.sagas.chain import Approved, Chain, ChainCall
from offerhub.sagas.model import Facts, Outcome, Refused, Saga, Settled, Step, Unavailable
from offerhub.wallets import store
from offerhub.wallets.platform import PlatformAccount
from offerhub.wallets.service import PROVISION

if TYPE_CHECKING:
    from offerhub.providers.stellar.transactions import Unsigned

log = structlog.get_logger("offerhub.wallets")

ENVELOPE_SECONDS: Final = 120
"""How long an envelope of ours may wait for a ledger; 60 to 180 s is the useful range (providers.md 6.4)."""
OPERATIONS_MAX: Final = 5
"""The most operations that an envelope of ours has, its fee bump's own one included."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What every envelope of ours has besides its operations. `fee` is stroops per operation."""

    source: str
    sequence: int
    max_time: int
    fee: int


class OwnTransactions:
    """Envelopes that we build ourselves, for an account of ours."""

    def __init__(self, horizon: Horizon, fees: Fees) -> None:
        self.horizon = horizon
        self._fees = fees

    def call(self, account: str, build: Callable[[Terms], "Unsigned"], **options: Any) -> ChainCall:
        """The chain call of an envelope that `build` makes; `options` are those of ChainCall."""

        async def built(source: str) -> str:
            # Ledgers are judged by their own time, so a host whose clock is wrong must not matter.
            latest = await self.horizon.latest_ledger()
            deadline = int(latest.closed_at.timestamp()) + ENVELOPE_SECONDS
            bid = await self._fees.bid(OPERATIONS_MAX)
            return build(Terms(source, await self._next_sequence(source), deadline, bid)).xdr

        return ChainCall(account, built, self._approve, self._submit, **options)

    async def _next_sequence(self, address: str) -> int:
        account = await self.horizon.account(address)
        if account is None:
            raise StellarNetworkError("The account does not exist on the chain yet.", account=address)
        return account.sequence + 1

    async def _submit(self, xdr: str) -> Submission:
        return await self.horizon.submit(xdr)

    async def _approve(self, xdr: str) -> Approved:
        """We built it: read what has to be stored with it."""
        from offerhub.providers.stellar.envelope import decode

        decoded = decode(xdr, self.horizon.network.passphrase)
        return Approved(decoded.hash, decoded.source, decoded.sequence, datetime.fromtimestamp(decoded.max_time, UTC))


@dataclass(frozen=True, slots=True)
class FundAccount:
    """The account must exist: a friendbot creates it on a test network, elsewhere the operator does."""

    horizon: Horizon
    name: str = "fund_account"
    is_look: bool = False

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
    is_look: bool = False

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Make the trustline transaction."""
        from offerhub.providers.stellar import transactions

        address, network = saga.input["address"], self.own.horizon.network

        def build(terms: Terms) -> "Unsigned":
            return transactions.build_trustline(
                network.passphrase,
                source=terms.source,
                sequence=terms.sequence,
                asset=network.usdc,
                fee=terms.fee,
                max_time=terms.max_time,
            )

        return await self.chain.carry(saga, position, self.own.call(address, build, patient=True))

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Nothing to write before the plan's end."""


@dataclass(frozen=True, slots=True)
class CreateAccount:
    """The platform sponsors the account and its trustline in one transaction: the account itself holds no XLM.

    The transaction goes through a free channel, so that many accounts are made in one ledger.
    """

    chain: Chain
    own: OwnTransactions
    platform: PlatformAccount
    name: str = "create_account"
    is_look: bool = False

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Make the transaction, unless the chain shows that there is nothing left to do."""
        from offerhub.providers.stellar import transactions

        address, network = saga.input["address"], self.own.horizon.network
        asset = network.usdc if saga.input.get("trustline", True) else None
        sponsor = await self.platform.fee_account()
        if sponsor is None:
            waiting = StellarNetworkError("The platform's account is not set up yet: it pays for this one.")
            return Unavailable(waiting, patient=True)
        create = True
        if not await self.chain.is_open(saga, position):
            try:
                account = await self.own.horizon.account(address)
                create = account is None
                if account is not None and (asset is None or account.usdc is not None):
                    return Settled({"address": address})
                await self.platform.require_xlm(2 * BASE_RESERVE * create + BASE_RESERVE * (asset is not None))
            except StellarNetworkError as error:
                return Unavailable(error, patient=True)

        def build(terms: Terms) -> "Unsigned":
            return transactions.build_sponsored_account(
                network.passphrase,
                source=terms.source,
                sequence=terms.sequence,
                sponsor=sponsor,
                account=address,
                create=create,
                asset=asset,
                fee=terms.fee,
                max_time=terms.max_time,
            )

        channels = await self.platform.channels()
        call = self.own.call(sponsor, build, channels=channels, cosigners=(address,), patient=True)
        return await self.chain.carry(saga, position, call)

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Nothing to write before the plan's end."""


@dataclass(frozen=True, slots=True)
class CheckBacking:
    """A wallet must hold on the chain what is about to leave it: a manual credit alone backs nothing."""

    horizon: Horizon
    address: str
    amount: int
    is_treasury: bool = False
    name: str = "check_backing"
    is_look: bool = True

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Read the wallet's balance on the chain."""
        try:
            account = await self.horizon.account(self.address)
        except StellarNetworkError as error:
            return Unavailable(error)
        held = 0 if account is None or account.usdc is None else int(account.usdc)
        if held < self.amount:
            kind = TreasuryShort if self.is_treasury else WalletShortfall
            shortfall = kind(
                requested=format_amount(self.amount),
                available=format_amount(held),
                shortfall=format_amount(self.amount - held),
                address=self.address,
                currency="USD",
            )
            if self.is_treasury:
                log.error("treasury_short", **shortfall.details)
            return Refused(shortfall)
        return Settled({"held": held})

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Nothing to write: it was a look."""


class Provision:
    """Plan `wallet.provision`: input `{address, userId, funding: friendbot|operator|platform, trustline?}`."""

    kind = PROVISION

    def __init__(self, chain: Chain, own: OwnTransactions, platform: PlatformAccount) -> None:
        self._chain = chain
        self._own = own
        self._platform = platform

    def steps(self, saga: Saga) -> Sequence[Step]:
        """An account and its trustline, in one step when the platform pays."""
        if saga.input["funding"] == "platform":
            return (CreateAccount(self._chain, self._own, self._platform),)
        return (FundAccount(self._own.horizon), AddTrustline(self._chain, self._own))

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        """The wallet is ready to receive."""
        ready_at = await store.mark_ready(tx, saga.subject_id)
        user_id = saga.input["userId"]
        if ready_at is None or user_id is None:
            return  # the wallets of the system itself are nobody's
        payload = {"userId": user_id, "stellarAddress": saga.input["address"], "linkedAt": to_wire(ready_at)}
        await record(tx, saga.actor, events=[Event("user.stellar_linked", "User", user_id, payload, user_id)])

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        """The wallet stays PENDING and is tried again; the saga and its refusal are there for the operator."""
