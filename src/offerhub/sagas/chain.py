"""Sign once, store, then send: how a step's transaction gets into a ledger exactly once (design 5, 6).

    lane → build → approve → sign → STORE → send → look the hash up → settled | refused | unknown

The envelope is stored whole before its first byte leaves. After any silence the hash is looked up on the chain,
and the same bytes are sent again. A new envelope is built only once the chain has proven the old one absent for
ever: a ledger closed past its time bound, and its hash is in no ledger.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import structlog

from offerhub.errors import (
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
    Refusal,
    SigningRefused,
    StellarNetworkError,
)
from offerhub.providers.stellar.horizon import ChainTransaction, Horizon
from offerhub.runtime.database import Database
from offerhub.sagas import store
from offerhub.sagas.model import Envelope, Inclusion, NotYet, Outcome, Refused, Saga, Settled, Unavailable, Unknown

log = structlog.get_logger("offerhub.chain")

ABSENCE_MARGIN: Final = timedelta(seconds=30)
"""Ledger time past the bound before absence is believed: one of several Horizons behind a name may lag."""
UNREACHABLE: Final = (ProviderUnavailable, ProviderTimeout, ProviderRateLimited, StellarNetworkError)


@dataclass(frozen=True, slots=True)
class Approved:
    """An unsigned transaction that is the one we asked for. `valid_until` is its upper time bound."""

    hash: str
    source: str
    sequence: int
    valid_until: datetime


class SignedEnvelope(Protocol):
    """What a signer returns: the bytes to be stored and sent (base64), and their hash (hex)."""

    @property
    def xdr(self) -> str:
        """The signed envelope."""
        ...

    @property
    def hash(self) -> str:
        """Its hash."""
        ...


class Signer(Protocol):
    """Whoever holds the keys. Secrets are opened inside and wiped; they never come out."""

    async def sign(self, public_keys: Sequence[str], xdr: str) -> SignedEnvelope:
        """Sign with the keys of these accounts. Raises VaultError or InternalError."""
        ...


def chain_refused(code: str, operation_codes: Sequence[str]) -> Refusal:
    """The refusal for a transaction that is in a ledger and failed there."""
    return StellarNetworkError(
        "The chain refused the transaction.", resultCode=code, operationCodes=list(operation_codes)
    )


@dataclass(frozen=True, slots=True)
class ChainCall:
    """A transaction to be made: who signs it, how it is built, checked and sent.

    `build` returns the unsigned envelope and has no effect outside. `approve` refuses anything but what was
    asked for (raises SigningRefused). `submit` sends the signed bytes; whatever it returns is logged as a hint,
    only the chain is believed. `cosigners` sign besides the source account. A `patient` call never gives up on a
    provider that cannot be reached. `explain` names the refusal for result codes of a failed transaction.
    """

    account: str
    build: Callable[[], Awaitable[str]]
    approve: Callable[[str], Awaitable[Approved]]
    submit: Callable[[str], Awaitable[str]]
    cosigners: tuple[str, ...] = ()
    wants_transfers: bool = False
    patient: bool = False
    explain: Callable[[str, Sequence[str]], Refusal] = chain_refused


class Chain:
    """Carries chain calls for saga steps."""

    def __init__(
        self,
        database: Database,
        horizon: Horizon,
        signer: Signer,
        absence_margin: timedelta = ABSENCE_MARGIN,
    ) -> None:
        self._database = database
        self._horizon = horizon
        self._signer = signer
        self._absence_margin = absence_margin

    async def carry(self, saga: Saga, position: int, call: ChainCall) -> Outcome:
        """Go on with a step's transaction from wherever the records say it is."""
        envelope = await self._database.run(lambda tx: store.open_envelope(tx, saga.id, position), read_only=True)
        if envelope is None:
            made = await self._make(saga, position, call)
            if not isinstance(made, Envelope):
                return made
            envelope = made
        elif envelope.status == "SUBMITTED":
            outcome = await self._evidence(envelope, call)
            if not isinstance(outcome, Unknown):
                return outcome
        return await self._send(envelope, call)

    async def _make(self, saga: Saga, position: int, call: ChainCall) -> Envelope | Outcome:
        """Take the account's lane, build, approve, sign and store."""
        if not await self._database.run(lambda tx: store.take_lane(tx, call.account, saga.id, position)):
            return NotYet("another transaction of this account is on its way")
        try:
            unsigned = await call.build()
        except UNREACHABLE as error:
            return Unavailable(error, call.patient)
        except Refusal as error:
            return Refused(error)
        try:
            approved = await call.approve(unsigned)
        except SigningRefused as error:
            log.error("signing_refused", saga_id=saga.id, kind=saga.kind, subject=saga.subject_id, **error.details)  # noqa: TRY400 - a refusal, not a crash
            return Refused(error, unsigned=unsigned)
        signed = await self._signer.sign([call.account, *call.cosigners], unsigned)
        assert signed.hash == approved.hash
        assert approved.source == call.account
        envelope = Envelope(signed.hash, approved.source, approved.sequence, signed.xdr, approved.valid_until)
        await self._database.run(lambda tx: store.insert_envelope(tx, saga.id, position, envelope))
        return envelope

    async def _send(self, envelope: Envelope, call: ChainCall) -> Outcome:
        await self._database.run(lambda tx: store.count_submission(tx, envelope.hash))
        hint = await call.submit(envelope.xdr)
        log.info("envelope_sent", hash=envelope.hash, hint=hint)
        return await self._evidence(envelope, call)

    async def _evidence(self, envelope: Envelope, call: ChainCall) -> Outcome:
        """What the chain says of the envelope."""
        try:
            # The ledger is read before the look-up: absence counts only if that ledger was already past the bound.
            latest = await self._horizon.latest_ledger()
            found = await self._horizon.transaction(envelope.hash)
            if found is not None:
                return await self._included(found, call)
        except StellarNetworkError as error:
            return Unknown(str(error))
        if latest.closed_at > envelope.valid_until + self._absence_margin:
            await self._database.run(lambda tx: store.expire_envelope(tx, envelope.hash, latest.closed_at))
            log.warning("envelope_expired", hash=envelope.hash)
            return NotYet("the envelope can no longer be included; a new one is built", 0.0)
        return Unknown("no ledger holds the transaction yet")

    async def _included(self, found: ChainTransaction, call: ChainCall) -> Outcome:
        inclusion = Inclusion(found.hash, found.ledger, found.successful)
        if not found.successful:
            return Refused(call.explain(found.code, found.operation_codes), inclusion)
        facts: dict[str, Any] = {"hash": found.hash, "ledger": found.ledger, "contract": found.returned_contract}
        if call.wants_transfers:
            usdc = self._horizon.network.usdc
            facts["transfers"] = [
                {"from": moved.from_address, "to": moved.to_address, "amount": int(moved.amount)}
                for moved in await self._horizon.transfers(found.hash)
                if moved.asset == usdc
            ]
        return Settled(facts, inclusion)
