"""The endpoints of users (contract 2.3)."""

import re

from offerhub.errors import (
    AirtmUserAlreadyLinked,
    AirtmUserInvalid,
    ProviderError,
    ProviderNotEnabled,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
    UserNotActive,
    UserNotFound,
    invalid_field,
)
from offerhub.kernel.pages import Page
from offerhub.runtime.database import Tx
from offerhub.runtime.routes import Call, Deferred, Envelope, Handler, Route, first
from offerhub.runtime.statements import Statement
from offerhub.users import service
from offerhub.users.linking import Linking, link_of
from offerhub.users.model import (
    EMAIL_CHARACTERS_MAX,
    EMAIL_PATTERN,
    AirtmLinkAnswer,
    CreateUser,
    LinkAirtmAccount,
    ListUsers,
    UserAnswer,
)
from offerhub.users.service import Users

_EMAIL = re.compile(EMAIL_PATTERN)


def _is_email(text: str) -> bool:
    return len(text) <= EMAIL_CHARACTERS_MAX and _EMAIL.fullmatch(text) is not None


async def _link(tx: Tx, marketplace_id: str, user_id: str) -> AirtmLinkAnswer:
    """The user's link. Raises ProviderTimeout while Airtm has not answered yet."""
    link = link_of(await service.require(tx, marketplace_id, user_id))
    if link is None:
        raise ProviderTimeout("Airtm has not answered yet.", provider="AIRTM")
    return link.wire()


def routes(users: Users, linking: Linking) -> tuple[Route, ...]:
    """Declare the endpoints."""

    async def create(call: Call) -> Statement:
        body: CreateUser = call.body
        external_id = first(body.externalUserId, body.external_user_id, body.externalId)
        assert external_id is not None
        if body.email is not None and not _is_email(body.email):
            raise invalid_field("email", "email must be a valid e-mail address")
        return users.create(call.actor, external_id, email=body.email, user_type=body.type, metadata=body.metadata)

    async def read(call: Call) -> UserAnswer:
        return (await users.read(call.tx, call.actor.marketplace_id, call.path["user_id"])).wire()

    async def list_users(call: Call) -> Page:
        query: ListUsers = call.query
        return await users.list(call.tx, call.actor.marketplace_id, query.type, query.status, query)

    return (
        *_managed(create, read, list_users),
        _link_route(linking),
    )


def _link_route(linking: Linking) -> Route:
    async def link(call: Call) -> AirtmLinkAnswer | Deferred:
        body: LinkAirtmAccount = call.body
        if not _is_email(body.email):
            raise invalid_field("email", "email must be a valid e-mail address")
        marketplace_id, user_id = call.actor.marketplace_id, call.path["user_id"]
        found = await linking.begin(call.tx, call.actor, user_id, body.email)
        if isinstance(found, str):
            return Deferred(found, lambda tx: _link(tx, marketplace_id, user_id))
        return found.wire()

    async def resume(call: Call, saga_id: str) -> AirtmLinkAnswer:
        return await _link(call.tx, call.actor.marketplace_id, call.path["user_id"])

    return Route(
        "POST",
        "/users/{user_id}/airtm/link",
        "users.link_airtm",
        "Link a user to an Airtm account, or answer the link that it has",
        link,
        "write",
        "users",
        Envelope.DATA,
        answer=AirtmLinkAnswer,
        description="Airtm is asked for the account with this e-mail address, which must be active and verified. "
        "One account belongs to one user. A user that is linked already stays linked as it is.",
        body=LinkAirtmAccount,
        errors=(
            UserNotFound,
            UserNotActive,
            AirtmUserInvalid,
            AirtmUserAlreadyLinked,
            ProviderNotEnabled,
            ProviderError,
            ProviderRateLimited,
            ProviderTimeout,
            ProviderUnavailable,
        ),
        resume=resume,
    )


def _managed(create: Handler, read: Handler, list_users: Handler) -> tuple[Route, ...]:
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
            at_once=True,
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
