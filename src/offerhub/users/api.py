"""The endpoints of users (contract 2.3)."""

import re
from typing import Final

from offerhub.errors import UserNotFound, invalid_field
from offerhub.kernel.pages import Page
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Answer, Call, Envelope, Route
from offerhub.users.model import CreateUser, UserAnswer, UserStatus, UserType
from offerhub.users.service import Users

EXTERNAL_ID_CHARACTERS_MAX: Final = 255
EMAIL_CHARACTERS_MAX: Final = 254
"""The longest address that mail can carry; it also bounds how long the pattern below can take."""
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]+\.[^@\s]{2,}", re.ASCII)


class ListUsers(PageQuery, kw_only=True):
    """Filters of GET /users."""

    type: UserType | None = None
    status: UserStatus | None = None


def _is_email(text: str) -> bool:
    return len(text) <= EMAIL_CHARACTERS_MAX and _EMAIL.fullmatch(text) is not None


def _external_id(body: CreateUser) -> str:
    external_id = body.externalUserId or body.external_user_id or body.externalId
    if not external_id or not external_id.strip():
        raise invalid_field("externalUserId", "externalUserId must be a non-empty string")
    if len(external_id) > EXTERNAL_ID_CHARACTERS_MAX:
        raise invalid_field(
            "externalUserId", f"externalUserId must have at most {EXTERNAL_ID_CHARACTERS_MAX} characters"
        )
    return external_id


def routes(users: Users) -> tuple[Route, ...]:
    """Declare the endpoints."""

    async def create(call: Call) -> Answer:
        body: CreateUser = call.body
        external_id = _external_id(body)
        if body.email is not None and not _is_email(body.email):
            raise invalid_field("email", "email must be a valid e-mail address")
        view, is_new = await users.create(
            call.tx, call.actor, external_id, email=body.email, user_type=body.type, metadata=body.metadata
        )
        return Answer(view.wire(), 201 if is_new else 200)

    async def read(call: Call) -> UserAnswer:
        return (await users.read(call.tx, call.actor.marketplace_id, call.path["user_id"])).wire()

    async def list_users(call: Call) -> Page:
        query: ListUsers = call.query
        return await users.list(call.tx, call.actor.marketplace_id, query.type, query.status, query)

    return (
        Route(
            "POST",
            "/users",
            "users.create",
            "Create a user, or answer the one that has this external id (200)",
            create,
            "write",
            "users",
            Envelope.DATA,
            answer=UserAnswer,
            status=201,
            also=(200,),
            body=CreateUser,
        ),
        Route(
            "GET",
            "/users/{user_id}",
            "users.get",
            "Read a user",
            read,
            "read",
            "users",
            Envelope.DATA,
            answer=UserAnswer,
            unit="read",
            errors=(UserNotFound,),
        ),
        Route(
            "GET",
            "/users",
            "users.list",
            "List users, newest first",
            list_users,
            "read",
            "users",
            Envelope.PAGE,
            answer=UserAnswer,
            query=ListUsers,
            unit="read",
        ),
    )
