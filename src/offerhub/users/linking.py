"""Linking a user to its Airtm account."""

from offerhub.errors import AirtmUserNotLinked, ProviderNotEnabled, UserNotActive, UserNotFound
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.sagas.engine import Engine
from offerhub.users import service, store
from offerhub.users.model import Linked, User
from offerhub.users.steps import LINK


def link_of(user: User) -> Linked | None:
    """The user's link, if it has one."""
    if user.airtm_user_id is None:
        return None
    assert user.airtm_email is not None
    assert user.airtm_linked_at is not None
    return Linked(user.id, user.airtm_user_id, user.airtm_email, user.airtm_linked_at)


async def require_linked(tx: Tx, marketplace_id: str, user_id: str) -> Linked:
    """The Airtm account of a user that may move money. Raises UserNotFound, UserNotActive, AirtmUserNotLinked."""
    await service.require_active(tx, marketplace_id, user_id)
    link = link_of(await service.require(tx, marketplace_id, user_id))
    if link is None:
        raise AirtmUserNotLinked(userId=user_id)
    return link


class Linking:
    """Starting links. `enabled` is whether this installation has Airtm."""

    def __init__(self, engine: Engine, *, enabled: bool) -> None:
        self._engine = engine
        self._enabled = enabled

    async def begin(self, tx: Tx, actor: Actor, user_id: str, email: str) -> Linked | str:
        """The link that is there already, or the id of the saga that makes one: one at a time for each user.

        Raises UserNotFound, UserNotActive, ProviderNotEnabled.
        """
        user = await store.lock(tx, actor.marketplace_id, user_id)
        if user is None:
            raise UserNotFound(userId=user_id[:64])
        link = link_of(user)
        if link is not None:
            return link
        if user.status != "ACTIVE":
            raise UserNotActive(userId=user.id, status=user.status)
        if not self._enabled:
            raise ProviderNotEnabled(provider="airtm")
        running = await self._engine.running(tx, LINK, user.id)
        return running or await self._engine.start(tx, actor, LINK, user.id, {"email": email})
