"""Use cases of users."""

from typing import Any, Final

from msgspec import structs

from offerhub.errors import InsufficientScope, Refusal, UserNotActive, UserNotFound
from offerhub.events.journal import Event, job_rows, rows
from offerhub.kernel.pages import Page
from offerhub.ledger.ledger import refusal_of
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Raised, Tx
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Answer
from offerhub.runtime.statements import Statement, place
from offerhub.users import store
from offerhub.users.model import User, UserType, UserView, new_user, shown_wallet
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


UNKNOWN: Final = "OH010"
INACTIVE: Final = "OH011"


def refusal_of_user_or_books(raised: Raised) -> Refusal | None:
    """What an error of a statement that moves a user's money means to whoever asked; None when it means nothing."""
    if raised.code == UNKNOWN:
        return UserNotFound(userId=raised.facts["user"][:64])
    if raised.code == INACTIVE:
        return UserNotActive(userId=raised.facts["user"], status=raised.facts["status"])
    return refusal_of(raised)


def acting_user(actor: Actor, named: str | None) -> str | None:
    """The user a request acts for: the one it names, or the key's own. Raises InsufficientScope for another's."""
    if actor.bound_user_id is not None and named not in (None, actor.bound_user_id):
        raise InsufficientScope("This key acts for another user.", userId=named)
    return actor.bound_user_id or named


class Users:
    """Creating and reading users."""

    def __init__(self, wallets: Wallets) -> None:
        self._wallets = wallets

    def create(
        self,
        actor: Actor,
        external_user_id: str,
        *,
        email: str | None = None,
        user_type: UserType = "BOTH",
        metadata: dict[str, Any] | None = None,
    ) -> Statement:
        """A new user with its wallet. Otherwise, with 200, the user who has this external id."""
        user = new_user(actor.marketplace_id, external_user_id, email, user_type)
        payload = {
            "userId": user.id,
            "externalUserId": external_user_id,
            "type": user.type,
            "status": user.status,
        } | ({"email": email} if email else {})
        wallet = self._wallets.new_for_user(actor, user.id)
        events, audit = rows(actor, [Event("user.created", "User", user.id, payload, user.id), wallet.event], [])
        made = {"id": user.id, "external_id": external_user_id, "email": email, "type": user.type}
        request = {
            "marketplace": actor.marketplace_id,
            "actor": actor.for_audit(),
            "user": {**made, "metadata": metadata},
            "wallet": wallet.request,
            "saga": wallet.saga.request(),
            "events": events,
            "audit": audit,
            "jobs": job_rows([wallet.saga.job]),
        }
        view = UserView(user, 0, 0, shown_wallet(wallet.address, "PENDING")).wire()
        answer = structs.replace(view, createdAt=place(1), updatedAt=place(2))

        async def existing(tx: Tx) -> Answer:
            user_id = await store.id_of(tx, actor.marketplace_id, external_user_id)
            return Answer((await self.read(tx, actor.marketplace_id, user_id)).wire(), 200)

        turn = f"{actor.marketplace_id} {external_user_id}"
        return Statement("create_user", turn, request, answer, lambda _: None, existing, ("events", "jobs"))

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
