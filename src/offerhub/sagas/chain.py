"""Sign once, store, then send: how a step's transaction gets into a ledger exactly once (design 5, 6).

    lane → build → approve → sign → STORE → send → look the hash up → settled | refused | unknown

The envelope is stored whole before its first byte leaves, and only by whoever drives the saga at that moment: a
driver that slept past its lease has nothing to send but what was stored while it had it. After any silence the hash
is looked up on the chain, and the same envelope is sent again, in a wrapper that bids more where the price has risen
(`bumps`). A new envelope is built only once the chain has proven the old one absent for ever: its hash is in no
ledger, and a ledger closed past its time bound, or long after its sequence number was used up by another transaction.
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
from offerhub.providers.stellar.horizon import ChainTransaction, Horizon, Rejected, Submission
from offerhub.providers.stellar.reactions import ALARMING, Reaction, reaction
from offerhub.providers.stellar.records import Ledger
from offerhub.runtime.database import Database, Tx
from offerhub.sagas import store
from offerhub.sagas.bumps import Bumps, SignedEnvelope
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

    `account` is whose call it is, and signs. The transaction's source is that account too, or, where `channels` are
    named, whichever of them and it is free: a channel lends its sequence number and signs along. `build` returns the
    unsigned envelope of that source and has no effect outside. `approve` refuses anything but what was asked for
    (raises SigningRefused). `submit` sends the signed bytes; of its answer only a rejection is heeded, and that only
    when no ledger holds the envelope. `cosigners` sign besides. A `patient` call never gives up on a provider that
    cannot be reached. `explain` names the refusal for result codes of a failed transaction.
    """

    account: str
    build: Callable[[str], Awaitable[str]]
    approve: Callable[[str], Awaitable[Approved]]
    submit: Callable[[str], Awaitable[Submission]]
    cosigners: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
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
        bumps: Bumps,
        absence_margin: timedelta = ABSENCE_MARGIN,
    ) -> None:
        self._database = database
        self._horizon = horizon
        self._signer = signer
        self._bumps = bumps
        self._absence_margin = absence_margin

    async def carry(self, saga: Saga, position: int, call: ChainCall) -> Outcome:
        """Go on with a step's transaction from wherever the records say it is.

        Raises LeaseLost when somebody else drives the saga by now.
        """
        envelope = await self._open(saga, position)
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

    async def is_open(self, saga: Saga, position: int) -> bool:
        """True while an envelope of this step may be included."""
        return await self._open(saga, position) is not None

    async def _open(self, saga: Saga, position: int) -> Envelope | None:
        return await self._database.run(lambda tx: store.open_envelope(tx, saga.id, position), read_only=True)

    async def _make(self, saga: Saga, position: int, call: ChainCall) -> Envelope | Outcome:
        """Take a lane, build, approve, sign and store."""
        source = await self._database.run(lambda tx: self._take_lane(tx, saga, position, call))
        if source is None:
            return NotYet("another transaction of this account is on its way")
        try:
            unsigned = await call.build(source)
        except UNREACHABLE as error:
            return Unavailable(error, call.patient)
        except Refusal as error:
            return Refused(error)
        try:
            approved = await call.approve(unsigned)
        except SigningRefused as error:
            log.error("signing_refused", saga_id=saga.id, kind=saga.kind, subject=saga.subject_id, **error.details)  # noqa: TRY400 - a refusal, not a crash
            return Refused(error, unsigned=unsigned)
        signed = await self._signer.sign(list(dict.fromkeys([source, call.account, *call.cosigners])), unsigned)
        assert signed.hash == approved.hash
        assert approved.source == source
        envelope = Envelope(signed.hash, approved.source, approved.sequence, signed.xdr, approved.valid_until)
        await self._database.run(lambda tx: self._store(tx, saga, position, envelope))
        return envelope

    async def _take_lane(self, tx: Tx, saga: Saga, position: int, call: ChainCall) -> str | None:
        await store.fence(tx, saga)
        return await store.take_lane(tx, (*call.channels, call.account), saga.id, position)

    async def _store(self, tx: Tx, saga: Saga, position: int, envelope: Envelope) -> None:
        await store.fence(tx, saga)
        await store.insert_envelope(tx, saga.id, position, envelope)

    async def _send(self, envelope: Envelope, call: ChainCall) -> Outcome:
        bump = await self._bumps.wrapped(envelope)
        await self._database.run(lambda tx: store.count_submission(tx, envelope.hash))
        hint = await call.submit(envelope.xdr if bump is None else bump.xdr)
        log.info("envelope_sent", hash=envelope.hash, bump=None if bump is None else bump.hash, hint=repr(hint))
        outcome = await self._evidence(envelope, call)
        if isinstance(outcome, Unknown) and isinstance(hint, Rejected):
            return await self._not_taken(envelope, hint)
        return outcome

    async def _not_taken(self, envelope: Envelope, rejected: Rejected) -> Outcome:
        """No ledger holds it and the network would not take it: note why; the next attempt reacts (providers 6.4)."""
        code = rejected.code
        if code != envelope.last_code:
            level = log.error if reaction(code) in ALARMING else log.warning
            level("envelope_not_taken", hash=envelope.hash, code=code, reaction=reaction(code).value)
        await self._database.run(lambda tx: store.note_code(tx, envelope.hash, code))
        return Unknown(f"the network does not take the transaction: {code}")

    async def _evidence(self, envelope: Envelope, call: ChainCall) -> Outcome:
        """What the chain says of the envelope."""
        try:
            # The ledger is read before the look-up: absence counts only if that ledger was already past the bound.
            latest = await self._horizon.latest_ledger()
            found = await self._look_up(envelope)
            if found is not None:
                return await self._included(envelope, found, call)
            reason = await self._absent_for_ever(envelope, latest)
        except StellarNetworkError as error:
            return Unknown(str(error))
        if reason is None:
            return Unknown("no ledger holds the transaction yet")
        await self._database.run(lambda tx: store.expire_envelope(tx, envelope.hash, latest.closed_at))
        log.warning("envelope_expired", hash=envelope.hash, reason=reason, last_code=envelope.last_code)
        if envelope.last_code is not None and reaction(envelope.last_code) is Reaction.GIVE_UP:
            return Refused(call.explain(envelope.last_code, ()))
        return NotYet("the envelope can no longer be included; a new one is built", 0.0)

    async def _look_up(self, envelope: Envelope) -> ChainTransaction | None:
        """Find the transaction under its own hash or, where a Horizon should not know that one, its wrapper's."""
        found = await self._horizon.transaction(envelope.hash)
        if found is None:
            bump = await self._bumps.newest(envelope)
            if bump is not None:
                found = await self._horizon.transaction(bump.hash)
        return found

    async def _absent_for_ever(self, envelope: Envelope, latest: Ledger) -> str | None:
        """Why no ledger can hold it any more, or None while one could. `latest` was read before the look-up."""
        if latest.closed_at > envelope.valid_until + self._absence_margin:
            return "its time bound has passed"
        if envelope.superseded_at is not None:
            # Seen before this look-up, and long enough ago for every Horizon behind the name to know the ledger.
            late = latest.closed_at > envelope.superseded_at + self._absence_margin
            return "its sequence number was used up" if late else None
        if envelope.last_code is not None and reaction(envelope.last_code) is Reaction.LOOK_AT_SEQUENCE:
            account = await self._horizon.account(envelope.source_account)
            if account is not None and account.sequence >= envelope.sequence:
                seen_at = latest.closed_at
                await self._database.run(lambda tx: store.note_superseded(tx, envelope.hash, seen_at))
                log.warning("envelope_superseded", hash=envelope.hash, account=envelope.source_account)
        return None

    async def _included(self, envelope: Envelope, found: ChainTransaction, call: ChainCall) -> Outcome:
        inclusion = Inclusion(envelope.hash, found.ledger, found.successful, found.ledger_hash)
        if not found.successful:
            return Refused(call.explain(found.code, found.operation_codes), inclusion)
        facts: dict[str, Any] = {
            "hash": found.ledger_hash,
            "ledger": found.ledger,
            "contract": found.returned_contract,
        }
        if call.wants_transfers:
            usdc = self._horizon.network.usdc
            facts["transfers"] = [
                {"from": moved.from_address, "to": moved.to_address, "amount": int(moved.amount)}
                for moved in await self._horizon.transfers(found.hash)
                if moved.asset == usdc
            ]
        return Settled(facts, inclusion)
