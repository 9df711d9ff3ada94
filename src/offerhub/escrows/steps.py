"""Saga steps on an escrow's contract: each is one intent, carried to the chain and settled by evidence."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from offerhub.escrows import store
from offerhub.kernel.clock import Clock
from offerhub.providers.stellar.horizon import Accepted, Horizon, Submission
from offerhub.providers.stellar.horizon import Unknown as Unsettled
from offerhub.providers.stellar.network import network_id
from offerhub.providers.trustless_work.client import SendRejected, TrustlessWork
from offerhub.providers.trustless_work.intents import (
    ApproveIntent,
    Deployer,
    DeployIntent,
    DisputeIntent,
    FundIntent,
    Intent,
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
}
"""Kind of intent to the name of the contract's function, which is also the step's."""


REFUSALS: Final = (ProviderError, ProviderUnavailable, ProviderTimeout, ProviderRateLimited)
"""What a saga on a contract may end in: refused by the API, the contract or our own check, or nobody answered."""


@dataclass(frozen=True, slots=True)
class Contracts:
    """What a step needs to reach a contract. `deployer` is the only one that may make contracts, when it is set;
    else it is the one of this network's first deployment.
    """

    database: Database
    chain: Chain
    trustless_work: TrustlessWork
    horizon: Horizon
    clock: Clock
    fee_max_stroops: int
    deployer: Deployer | None = None

    def call(self, intent: Intent) -> ChainCall:
        """The transaction that carries an intent out."""
        return ChainCall(
            account=intent.signer,
            build=lambda _: self.trustless_work.build(intent),
            approve=lambda xdr: self._approve(xdr, intent),
            submit=self._submit,
            wants_transfers=not isinstance(intent, DeployIntent),
            explain=_explain,
        )

    async def _approve(self, xdr: str, intent: Intent) -> Approved:
        # stellar-sdk takes a second to import; only processes that sign pay for it.
        from offerhub.providers.trustless_work.verify import verify

        deployer, network = self.deployer, network_id(self.horizon.network.passphrase).hex()
        if deployer is None and isinstance(intent, DeployIntent):
            deployer = await self.database.run(lambda tx: store.pinned_deployer(tx, network), read_only=True)
        verified = verify(
            xdr,
            intent,
            passphrase=self.horizon.network.passphrase,
            fee_cap=self.fee_max_stroops,
            now=self.clock.now(),
            factory=None if deployer is None else deployer.contract,
            wasm_hash=None if deployer is None else deployer.code,
        )
        if deployer is None and verified.deployer is not None:
            seen = verified.deployer
            pinned = await self.database.run(lambda tx: store.pin_deployer(tx, network, seen))
            log.warning("deployer_pinned", contract=pinned.contract, code=pinned.code)
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
        outcome = await self.contracts.chain.carry(saga, position, self.contracts.call(self.intent))
        if (
            isinstance(outcome, Settled)
            and isinstance(self.intent, DeployIntent)
            and outcome.facts["contract"] is None
        ):
            return Unknown("the deployment is in a ledger, but this Horizon does not tell the contract's address")
        if isinstance(outcome, Refused) and isinstance(self.intent, FundIntent):
            return replace(outcome, refusal=_funding_refusal(outcome.refusal))
        return outcome

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Keep what the contract knows by now."""
        escrow_id = saga.input["escrowId"]
        match self.intent:
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
