"""What the saga that links a user to Airtm does, and the look at an Airtm account that others share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from offerhub.errors import (
    AirtmUserAlreadyLinked,
    AirtmUserInvalid,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
    Refusal,
)
from offerhub.events.journal import AuditEntry, Event, record
from offerhub.kernel.clock import to_wire
from offerhub.providers.airtm.client import Airtm
from offerhub.providers.airtm.model import AirtmUser
from offerhub.runtime.database import Tx
from offerhub.sagas.model import Facts, Outcome, Refused, Saga, Settled, Step, Unavailable
from offerhub.users import store

LINK: Final = "user.link_airtm"


def fault_of(found: AirtmUser | None, linked_id: str | None = None) -> str | None:
    """Why this account may not pay or be paid (contract 2.3), or None. `linked_id` is whose account it must be."""
    if found is None or linked_id not in (None, found.id):
        return "USER_NOT_FOUND"
    if not found.is_active:
        return "USER_INACTIVE"
    return None if found.is_verified else "USER_NOT_VERIFIED"


@dataclass(frozen=True, slots=True)
class FindAccount:
    """Look the Airtm account up: input `{email}`, and `{airtmUserId}` where it is linked already."""

    airtm: Airtm
    name: str = "find_airtm_account"
    is_look: bool = True

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Refuses an account that does not exist, is not active or is not verified."""
        try:
            found = await self.airtm.find_user(saga.input["email"])
        except (ProviderRateLimited, ProviderTimeout, ProviderUnavailable) as error:
            return Unavailable(error)
        except Refusal as refusal:
            return Refused(refusal)
        fault = fault_of(found, saga.input.get("airtmUserId"))
        if fault is not None:
            return Refused(AirtmUserInvalid(failureReason=fault))
        assert found is not None
        return Settled({"airtmUserId": found.id})

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Nothing to write: it was a look."""


class LinkAirtm:
    """Plan `user.link_airtm`: input `{email}`. It only looks; the link is written when the look has settled."""

    kind = LINK

    def __init__(self, airtm: Airtm) -> None:
        self._airtm = airtm

    def steps(self, saga: Saga) -> Sequence[Step]:
        """One look."""
        return (FindAccount(self._airtm),)

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        """Write the link. Raises AirtmUserAlreadyLinked, which refuses the saga."""
        account = facts[-1]["airtmUserId"]
        user = await store.link_airtm(tx, saga.marketplace_id, saga.subject_id, account, saga.input["email"])
        if user is None:
            raise AirtmUserAlreadyLinked()
        assert user.airtm_linked_at is not None
        payload = {"userId": user.id, "airtmUserId": account, "linkedAt": to_wire(user.airtm_linked_at)}
        linked = {**payload, "airtmEmail": saga.input["email"]}
        await record(
            tx,
            saga.actor,
            events=[Event("user.airtm_linked", "User", user.id, payload, user.id)],
            audit=[AuditEntry("USER_AIRTM_LINKED", "User", user.id, after=linked, user_id=user.id)],
        )

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        """There is nothing to give back."""
