"""Use cases of users."""

from typing import Any

from offerhub.errors import InsufficientScope, UserNotActive, UserNotFound
from offerhub.events.journal import Event
from offerhub.kernel.pages import Page
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.runtime.paging import PageQuery
from offerhub.users import store
from offerhub.users.model import User, UserView, shown_wallet
from offerhub.wallets.service import Wallets


async def require(tx: Tx, marketplace_id: str, user_id: str) -> User:
    """The user. Raises UserNotFound, also for a user of another marketplace."""
    user = await store.get(tx, marketplace_id, user_id)
    if user is None:
        raise UserNotFound(userId=user_id[:64])
    return user


async def require_active(tx: Tx, marketplace_id: str, *user_ids: str) -> None:
    """See that these users may move money. Raises UserNotFound or UserNotActive for the first that may not."""
    found = await store.get_many(tx, marketplace_id, user_ids)
    for user_id in user_ids:
        user = found.get(user_id)
        if user is None:
            raise UserNotFound(userId=user_id[:64])
        if user.status != "ACTIVE":
            raise UserNotActive(userId=user.id, status=user.status)


def acting_user(actor: Actor, named: str | None) -> str | None:
    """The user a request acts for: the one it names, or the key's own. Raises InsufficientScope for another's."""
    if actor.bound_user_id is not None and named not in (None, actor.bound_user_id):
        raise InsufficientScope("This key acts for another user.", userId=named)
    return actor.bound_user_id or named


class Users:
    """Creating and reading users."""

    def __init__(self, wallets: Wallets) -> None:
        self._wallets = wallets

    async def create(
        self,
        tx: Tx,
        actor: Actor,
        external_user_id: str,
        *,
        email: str | None = None,
        user_type: str = "BOTH",
        metadata: dict[str, Any] | None = None,
    ) -> tuple[UserView, bool]:
        """The user with this external id, and whether it was made just now; with it goes its wallet."""
        created = await store.insert(tx, actor.marketplace_id, external_user_id, email, user_type, metadata)
        if created is None:
            user_id = await store.id_of(tx, actor.marketplace_id, external_user_id)
            return await self.read(tx, actor.marketplace_id, user_id), False
        payload = {
            "userId": created.id,
            "externalUserId": external_user_id,
            "type": created.type,
            "status": created.status,
        } | ({"email": email} if email else {})
        event = Event("user.created", "User", created.id, payload, created.id)
        wallet = await self._wallets.create_for_user(tx, actor, created.id, [event])
        return UserView(created, 0, 0, shown_wallet(wallet.public_key, wallet.status)), True

    async def read(self, tx: Tx, marketplace_id: str, user_id: str) -> UserView:
        """The user with balances and wallet. Raises UserNotFound."""
        found = await store.view(tx, marketplace_id, user_id)
        if found is None:
            raise UserNotFound(userId=user_id[:64])
        return found

    async def list(
        self, tx: Tx, marketplace_id: str, user_type: str | None, status: str | None, query: PageQuery
    ) -> Page:
        """One page of users, newest first."""
        return await store.views(tx, marketplace_id, user_type, status, query)
