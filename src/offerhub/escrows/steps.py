"""Saga steps on an escrow's contract: each is one intent, carried to the chain and settled by evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from offerhub.errors import (
    EscrowFundingFailed,
    ProviderError,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
    Refusal,
    SigningRefused,
)
from offerhub.escrows import milestone_store, store
from offerhub.escrows.surplus import is_odd, odd_refusal, share_out
from offerhub.kernel.clock import Clock
from offerhub.kernel.money import Units
from offerhub.providers.stellar.horizon import Accepted, Horizon, Submission
from offerhub.providers.stellar.horizon import Unknown as Unsettled
from offerhub.providers.stellar.network import network_id
from offerhub.providers.trustless_work.client import SendRejected, TrustlessWork
from offerhub.providers.trustless_work.intents import (
    ApproveIntent,
    Deployer,
    DeployIntent,
    DisputeIntent,
    DisputeMilestoneIntent,
    EscrowType,
    FundIntent,
    Intent,
    ReleaseIntent,
    ResolveIntent,
    StatusIntent,
    read_intent,
)
from offerhub.runtime.database import Database, Tx
from offerhub.sagas.chain import Approved, Chain, ChainCall
from offerhub.sagas.model import Facts, Outcome, Refused, Saga, Settled, Unknown

log = structlog.get_logger("offerhub.escrows")

NAMES: Final[Mapping[str, str]] = {
    "deploy": "deploy_escrow",
    "fund": "fund_escrow",
    "status": "change_milestone_status",
    "approve": "approve_milestone",
    "release": "release_funds",
    "dispute": "dispute_escrow",
    "resolve": "resolve_dispute",
    "release_milestone": "release_milestone_funds",
    "dispute_milestone": "dispute_milestone",
    "resolve_milestone": "resolve_milestone_dispute",
    "withdraw": "withdraw_remaining_funds",
}
"""Kind of intent to the name of the contract's function, which is also the step's."""


COMPLETED: Final = "completed"
"""The status that we give a milestone."""

REFUSALS: Final = (ProviderError, ProviderUnavailable, ProviderTimeout, ProviderRateLimited)
"""What a saga on a contract may end in: refused by the API, the contract or our own check, or nobody answered."""


@dataclass(frozen=True, slots=True)
class Contracts:
    """What a step needs to reach a contract. `deployers` are the only ones that may make contracts of their type;
    for a type without one it is that of this network's first deployment.
    """

    database: Database
    chain: Chain
    trustless_work: TrustlessWork
    horizon: Horizon
    clock: Clock
    fee_max_stroops: int
    deployers: Mapping[EscrowType, Deployer] = field(default_factory=dict)

    def call(self, intent: Intent, order_id: str) -> ChainCall:
        """The transaction that carries an intent out. A resolution is about all that the contract holds by then."""
        asked, closed_at = intent, self.clock.now()

        async def build(_: str) -> str:
            nonlocal asked, closed_at
            # Ledgers are judged by their own time, so a host whose clock is wrong must not matter.
            closed_at = (await self.horizon.latest_ledger()).closed_at
            if not isinstance(intent, ResolveIntent):
                return await self.trustless_work.build(intent)
            asked = whole = await self._whole(intent, order_id)
            try:
                return await self.trustless_work.build(whole)
            except ProviderError as refusal:
                raise odd_refusal(refusal, whole) if is_odd(whole) else refusal from None

        return ChainCall(
            account=intent.signer,
            build=build,
            approve=lambda xdr: self._approve(xdr, asked, closed_at),
            submit=self._submit,
            wants_transfers=not isinstance(intent, DeployIntent),
            explain=_explain,
        )

    async def _whole(self, intent: ResolveIntent, order_id: str) -> ResolveIntent:
        """The same decision about the contract's balance of this moment; a wrong answer makes the contract refuse."""
        balances = await self.trustless_work.balances([intent.contract_id])
        escrow = await self.database.run(lambda tx: store.of_order(tx, order_id), read_only=True)
        assert escrow is not None
        return share_out(intent, escrow.depositor, balances.get(intent.contract_id, Units(0)))

    async def seen(self, contract: str) -> Facts | None:
        """What Trustless Work shows of a contract, as JSON; None when it shows nothing now."""
        try:
            view = await self.trustless_work.escrow(contract)
        except Refusal as refusal:
            log.warning("contract_not_seen", contract=contract, code=refusal.code)
            return None
        if view is None:
            return None
        return {
            "disputed": view.disputed,
            "released": view.released,
            "resolved": view.resolved,
            "marked": _leading([one.status == COMPLETED for one in view.milestones]),
            "approved": _leading([one.approved for one in view.milestones]),
            "milestones": [
                {"marked": one.status == COMPLETED, "approved": one.approved, "disputed": one.disputed}
                for one in view.milestones
            ],
        }

    async def left_behind(self, contract: str) -> int:
        """Units that a contract still holds after its release: what strangers sent. 0 when nobody can say."""
        try:
            return (await self.trustless_work.balances([contract])).get(contract, Units(0))
        except Refusal as refusal:
            log.warning("contract_not_seen", contract=contract, code=refusal.code)
            return 0

    async def _approve(self, xdr: str, intent: Intent, closed_at: datetime) -> Approved:
        # stellar-sdk takes a second to import; only processes that sign pay for it.
        from offerhub.providers.trustless_work.verify import verify

        of, network = intent.escrow_type, network_id(self.horizon.network.passphrase).hex()
        deployer = self.deployers.get(of)
        if deployer is None and isinstance(intent, DeployIntent):
            deployer = await self.database.run(lambda tx: store.pinned_deployer(tx, network, of), read_only=True)
        verified = verify(
            xdr,
            intent,
            passphrase=self.horizon.network.passphrase,
            fee_cap=self.fee_max_stroops,
            now=max(self.clock.now(), closed_at),
            closed_at=closed_at,
            factory=None if deployer is None else deployer.contract,
            wasm_hash=None if deployer is None else deployer.code,
        )
        if deployer is None and verified.deployer is not None:
            seen = verified.deployer
            pinned = await self.database.run(lambda tx: store.pin_deployer(tx, network, of, seen))
            log.warning("deployer_pinned", escrow_type=of, contract=pinned.contract, code=pinned.code)
            if pinned != seen:  # two first deployments at once: the other one was quicker
                raise SigningRefused(field="contract", expected=pinned.contract, found=seen.contract)
        return Approved(
            verified.hash, verified.source, verified.sequence, datetime.fromtimestamp(verified.max_time, UTC)
        )

    async def _submit(self, xdr: str) -> Submission:
        """Send through the API, which keeps an index; where it will not have the envelope, straight to the network.

        Nobody promises that the API takes fee bumps. The network does, and says why when it does not.
        """
        sent = await self.trustless_work.send(xdr)
        if not isinstance(sent, SendRejected):
            return Unsettled(repr(sent))
        said = await self.horizon.submit(xdr)
        if isinstance(said, Accepted):
            await self.trustless_work.index(said.inner_hash or said.hash)
        return said


def _leading(known: Sequence[bool]) -> int:
    """How many of the first ones hold."""
    return next((index for index, holds in enumerate(known) if not holds), len(known))


def _explain(code: str, operation_codes: Any) -> Refusal:
    return ProviderError(
        "The escrow contract refused the transaction.", resultCode=code, operationCodes=list(operation_codes)
    )


def _funding_refusal(refusal: Refusal) -> Refusal:
    """A contract's refusal of its funding, in the code that clients expect (contract 3)."""
    if type(refusal) is ProviderError:
        return EscrowFundingFailed(refusal.message, **refusal.details)
    return refusal


@dataclass(frozen=True, slots=True)
class ContractStep:
    """Carry one intent out. The saga's input holds the escrow's id under `escrowId`."""

    contracts: Contracts
    intent: Intent
    is_look: bool = False

    @property
    def name(self) -> str:
        """The contract's function."""
        return NAMES[self.intent.to_json()["kind"]]

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Make the transaction, or find out what became of it."""
        call = self.contracts.call(self.intent, saga.input["orderId"])
        outcome = await self.contracts.chain.carry(saga, position, call)
        if (
            isinstance(outcome, Settled)
            and isinstance(self.intent, DeployIntent)
            and outcome.facts["contract"] is None
        ):
            return Unknown("the deployment is in a ledger, but this Horizon does not tell the contract's address")
        if isinstance(outcome, Refused) and isinstance(self.intent, FundIntent):
            return replace(outcome, refusal=_funding_refusal(outcome.refusal))
        if isinstance(outcome, Settled) and isinstance(self.intent, ReleaseIntent):
            return await self._with_surplus(outcome, self.intent)
        if isinstance(outcome, Refused) and not isinstance(self.intent, DeployIntent):
            return await self._with_evidence(outcome, self.intent.contract_id)
        return outcome

    async def _with_surplus(self, outcome: Settled, intent: ReleaseIntent) -> Outcome:
        """A release pays the order's amount; what else the contract held is in it still."""
        left = await self.contracts.left_behind(intent.contract_id)
        return replace(outcome, facts={**outcome.facts, "left": left}) if left else outcome

    async def _with_evidence(self, outcome: Refused, contract: str) -> Outcome:
        """The contract would not: it may know of something that we do not, such as a dispute raised elsewhere."""
        if type(outcome.refusal) is not ProviderError:
            return outcome
        seen = await self.contracts.seen(contract)
        if seen is None:
            return outcome
        details = {**outcome.refusal.details, "contractState": seen}
        return replace(outcome, refusal=ProviderError(outcome.refusal.message, **details))

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Keep what the contract knows by now."""
        escrow_id = saga.input["escrowId"]
        match self.intent:
            case StatusIntent(milestone_index=index, escrow_type="multi-release"):
                await milestone_store.note_milestone_progress(tx, escrow_id, index, marked=True)
            case ApproveIntent(milestone_index=index, escrow_type="multi-release"):
                await milestone_store.note_milestone_progress(tx, escrow_id, index, approved=True)
            case DisputeMilestoneIntent(milestone_index=index):
                await milestone_store.note_milestone_progress(tx, escrow_id, index, disputed=True)
            case StatusIntent(milestone_index=index):
                await store.note_progress(tx, escrow_id, marked=index + 1)
            case ApproveIntent(milestone_index=index):
                await store.note_progress(tx, escrow_id, approved=index + 1)
            case DisputeIntent():
                await store.note_progress(tx, escrow_id, disputed=True)
            case DeployIntent():
                return
        await store.note_transaction(tx, escrow_id, facts["hash"])


def contract_steps(contracts: Contracts, intents: list[dict[str, Any]]) -> list[ContractStep]:
    """The steps for intents as a saga's input stores them."""
    return [ContractStep(contracts, read_intent(intent)) for intent in intents]
