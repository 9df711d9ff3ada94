"""What the sagas of withdrawals through Airtm do: prepare a payout, commit it, cancel it.

A payout has our withdrawal's id as its code, which Airtm takes once: a lost answer is read back, never guessed.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from offerhub.errors import (
    InvalidState,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
    Refusal,
)
from offerhub.events.journal import AuditEntry, record
from offerhub.kernel.money import Units
from offerhub.providers.airtm import model as airtm_model
from offerhub.providers.airtm.client import Airtm
from offerhub.providers.airtm.model import Done, Exists, Payout, Rejected
from offerhub.runtime.database import Tx
from offerhub.sagas.model import Facts, Outcome, Refused, Saga, Settled, Step, Unavailable, Unknown
from offerhub.users.steps import FindAccount
from offerhub.withdrawals import settlement, store

PREPARE: Final = "withdrawal.airtm_prepare"
COMMIT: Final = "withdrawal.airtm_commit"
CANCEL: Final = "withdrawal.airtm_cancel"
AIRTM_SAGAS: Final = (PREPARE, COMMIT, CANCEL)
_ENDED_UNPAID: Final = frozenset({"CANCELED", "FAILED"})
_ASK_AGAIN: Final = (ProviderRateLimited, ProviderTimeout, ProviderUnavailable)


def _facts(payout: Payout) -> dict[str, object]:
    return {"payout": msgspec.to_builtins(payout)}


def payout_of(facts: Facts) -> Payout:
    """The payout that a settled step has seen."""
    return msgspec.convert(facts["payout"], Payout)


@dataclass(frozen=True, slots=True)
class PreparePayout:
    """Create the payout, without any money moving: input `{withdrawalId, email, amount}`."""

    airtm: Airtm
    name: str = "prepare_payout"
    is_look: bool = False

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Look for the payout by its code first, then create it."""
        code = saga.input["withdrawalId"]
        try:
            found = await self.airtm.payout_by_code(code)
        except _ASK_AGAIN as error:
            # An earlier attempt may have made it, so this goes on until Airtm tells.
            return Unavailable(error, patient=True)
        except Refusal as refusal:
            return Unknown(f"reading back: {refusal}")
        if found is not None:
            return Settled(_facts(found))
        made = await self.airtm.create_payout(
            code=code,
            email=saga.input["email"],
            amount=Units(saga.input["amount"]),
            notes=f"Withdrawal {code}",
        )
        return Settled(_facts(made.value)) if isinstance(made, Done) else _without_effect(made, patient=True)

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Remember what the payout is called."""
        await store.set_payout(tx, saga.input["withdrawalId"], payout_of(facts).id)


@dataclass(frozen=True, slots=True)
class CommitPayout:
    """Let the money go: input `{withdrawalId}`.

    When Airtm will not, the step is refused; a `lenient` one settles with the refusal instead, because the payout it
    follows on is there and may be committed later.
    """

    airtm: Airtm
    lenient: bool = False
    name: str = "commit_payout"
    is_look: bool = False

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Commit, unless an earlier attempt turns out to have done it."""
        found = await _act_once(self.airtm, saga.input["withdrawalId"], self.airtm.commit_payout)
        if isinstance(found, Refused) and self.lenient:
            return Settled({"refused": found.refusal.message})
        return Settled(_facts(found)) if isinstance(found, Payout) else found

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Nothing to write before the plan's end."""


@dataclass(frozen=True, slots=True)
class CancelPayout:
    """Take a payout back that was never committed: input `{withdrawalId}`."""

    airtm: Airtm
    name: str = "cancel_payout"
    is_look: bool = False

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Cancel, unless it is cancelled already or it is too late."""
        found = await _act_once(self.airtm, saga.input["withdrawalId"], self.airtm.cancel_payout)
        if not isinstance(found, Payout):
            return found
        if found.status in _ENDED_UNPAID:
            return Settled(_facts(found))
        return Refused(
            InvalidState("Airtm is paying this withdrawal already.", provider="AIRTM", status=found.raw_status)
        )

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Nothing to write before the plan's end."""


async def _act_once(
    airtm: Airtm, code: str, act: Callable[[str], Awaitable[airtm_model.Outcome[None]]]
) -> Payout | Outcome:
    """Do something to a payout that still waits, and read what it has become; one that has moved on is left alone."""
    found = await _read(airtm, code)
    if not isinstance(found, Payout) or found.status != "CREATED":
        return found
    done = await act(found.id)
    if isinstance(done, airtm_model.Unavailable | airtm_model.Unknown):
        return _without_effect(done)
    found = await _read(airtm, code)
    if not isinstance(found, Payout) or found.status != "CREATED":
        return found
    return Refused(done.refusal) if isinstance(done, Rejected) else Unknown("Airtm does not show it yet")


async def _read(airtm: Airtm, code: str) -> Payout | Unavailable | Unknown:
    try:
        found = await airtm.payout_by_code(code)
    except _ASK_AGAIN as error:
        return Unavailable(error)
    except Refusal as refusal:
        return Unknown(f"reading: {refusal}")
    return found or Unknown("Airtm does not show this payout")


def _without_effect(
    outcome: Exists | Rejected | airtm_model.Unavailable | airtm_model.Unknown, *, patient: bool = False
) -> Outcome:
    """What a call that brought nothing means to its step."""
    match outcome:
        case Exists():
            return Unknown("Airtm has done this before")
        case Rejected():
            return Refused(outcome.refusal)
        case airtm_model.Unavailable():
            return Unavailable(outcome.refusal, patient=patient)
        case airtm_model.Unknown():
            return Unknown(outcome.reason)


class PreparePlan:
    """Plan `withdrawal.airtm_prepare`: input `{withdrawalId, email, airtmUserId, amount, commit}`."""

    kind = PREPARE

    def __init__(self, airtm: Airtm) -> None:
        self._airtm = airtm

    def steps(self, saga: Saga) -> Sequence[Step]:
        """A look at the payee, then the payout, committed at once where that was asked for."""
        steps: tuple[Step, ...] = (FindAccount(self._airtm), PreparePayout(self._airtm))
        return (*steps, CommitPayout(self._airtm, lenient=True)) if saga.input["commit"] else steps

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        """Follow the payout; one that Airtm would not commit waits for another try, or to be cancelled."""
        refused = facts[-1].get("refused")
        if refused is not None:
            await store.note_failure(tx, saga.subject_id, refused)
        else:
            await _follow(tx, saga, payout_of(facts[-1]), committed=saga.input["commit"])

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        """There is no payout: the money goes back."""
        withdrawal = await store.lock(tx, saga.subject_id)
        await settlement.give_back(tx, saga.actor, withdrawal, "WITHDRAWAL_FAILED", refusal.message, refusal.code)


class CommitPlan:
    """Plan `withdrawal.airtm_commit`: input `{withdrawalId}`."""

    kind = COMMIT

    def __init__(self, airtm: Airtm) -> None:
        self._airtm = airtm

    def steps(self, saga: Saga) -> Sequence[Step]:
        """The commitment."""
        return (CommitPayout(self._airtm),)

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        """The money is on its way, unless Airtm has ended the payout."""
        await _follow(tx, saga, payout_of(facts[-1]), committed=True)

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        """The withdrawal stays as it is, for another try or a cancel."""
        withdrawal = await store.lock(tx, saga.subject_id)
        await _note_refusal(tx, saga, withdrawal.user_id, refusal)


class CancelPlan:
    """Plan `withdrawal.airtm_cancel`: input `{withdrawalId}`."""

    kind = CANCEL

    def __init__(self, airtm: Airtm) -> None:
        self._airtm = airtm

    def steps(self, saga: Saga) -> Sequence[Step]:
        """The cancellation."""
        return (CancelPayout(self._airtm),)

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        """Give the money back."""
        await settlement.apply(tx, saga.actor, saga.subject_id, payout_of(facts[-1]), canceled_by="user")

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        """It is too late: the withdrawal goes on."""
        withdrawal = await store.lock(tx, saga.subject_id)
        await _note_refusal(tx, saga, withdrawal.user_id, refusal)


async def _follow(tx: Tx, saga: Saga, payout: Payout, *, committed: bool) -> None:
    withdrawal = await store.lock(tx, saga.subject_id)
    if committed and payout.status not in _ENDED_UNPAID:
        await settlement.commit(tx, saga.actor, withdrawal)
    await settlement.apply(tx, saga.actor, saga.subject_id, payout)


async def _note_refusal(tx: Tx, saga: Saga, user_id: str, refusal: Refusal) -> None:
    action = saga.kind.replace("withdrawal.airtm_", "WITHDRAWAL_").upper() + "_REFUSED"
    told = {"code": refusal.code, "message": refusal.message}
    entry = AuditEntry(action, "Withdrawal", saga.subject_id, None, told, "FAILURE", user_id=user_id)
    await record(tx, saga.actor, audit=[entry])


def plans(airtm: Airtm) -> tuple[PreparePlan, CommitPlan, CancelPlan]:
    """The plans of withdrawals through Airtm."""
    return PreparePlan(airtm), CommitPlan(airtm), CancelPlan(airtm)
