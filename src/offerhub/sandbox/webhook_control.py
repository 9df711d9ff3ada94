"""The controls of Airtm's webhooks under `/_sim/airtm/webhooks`: where they go, what was sent, sending it again."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from offerhub.sandbox.control_bodies import Endpoint as Answering
from offerhub.sandbox.control_bodies import Refusal, guarded, read
from offerhub.sandbox.svix import BadSecret, key_of
from offerhub.sandbox.webhook_model import CONNECT_EVENTS, EVENTS, SECRETS_MAX, BadEndpoint, Endpoint, check_target
from offerhub.sandbox.webhooks import Webhooks

LOG_MAX: Final = 1_000
"""How much of the log one answer shows, the newest."""


class EndpointBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One endpoint; without `secrets` the sandbox's own secret signs (webhook_model has the rest)."""

    url: str
    secrets: Annotated[list[str], msgspec.Meta(min_length=1, max_length=SECRETS_MAX)] | None = None
    types: list[str] | None = None
    bare: bool = False
    early_seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0


class EndpointsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All endpoints from now on."""

    endpoints: Annotated[list[EndpointBody], msgspec.Meta(max_length=10)]


class RecoverBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`since` is in Unix seconds of the sandbox's clock."""

    since: float


class WebhookControls:
    """Sets endpoints, shows the log, sends again."""

    def __init__(self, webhooks: Webhooks, secret: str) -> None:
        self._webhooks = webhooks
        self._secret = secret

    def routes(self) -> list[Route]:
        """Every route, without its prefix."""
        table: list[tuple[str, str, Answering]] = [
            ("GET", "", self._show),
            ("POST", "", self._set),
            ("GET", "/messages", self._messages),
            ("GET", "/attempts", self._attempts),
            ("POST", "/messages/{id}/replay", self._replay),
            ("POST", "/recover", self._recover),
            ("POST", "/endpoints/{id}/rotate", self._rotate),
            ("POST", "/endpoints/{id}/retire", self._retire),
            ("POST", "/endpoints/{id}/enable", self._enable),
        ]
        return [Route(f"/webhooks{path}", guarded(endpoint), methods=[method]) for method, path, endpoint in table]

    async def _show(self, request: Request) -> Response:
        return JSONResponse({"endpoints": [asdict(one) for one in self._webhooks.endpoints.values()]})

    async def _set(self, request: Request) -> Response:
        body = await read(request, EndpointsBody)
        self._webhooks.set_endpoints([self._made(number, one) for number, one in enumerate(body.endpoints, 1)])
        return await self._show(request)

    async def _messages(self, request: Request) -> Response:
        rows = [asdict(one) for one in self._webhooks.messages.values()]
        return JSONResponse({"messages": rows[-LOG_MAX:]})

    async def _attempts(self, request: Request) -> Response:
        return JSONResponse({"attempts": [one.shown() for one in self._webhooks.attempts[-LOG_MAX:]]})

    async def _replay(self, request: Request) -> Response:
        message = self._webhooks.messages.get(request.path_params["id"])
        if message is None:
            raise Refusal("there is no such message")
        self._webhooks.replay(message)
        return JSONResponse(asdict(message))

    async def _recover(self, request: Request) -> Response:
        return JSONResponse({"replayed": self._webhooks.recover((await read(request, RecoverBody)).since)})

    async def _rotate(self, request: Request) -> Response:
        self._webhooks.rotate(self._endpoint(request))
        return await self._show(request)

    async def _retire(self, request: Request) -> Response:
        self._webhooks.retire(self._endpoint(request))
        return await self._show(request)

    async def _enable(self, request: Request) -> Response:
        self._webhooks.enable(self._endpoint(request))
        return await self._show(request)

    def _endpoint(self, request: Request) -> Endpoint:
        found = self._webhooks.endpoints.get(request.path_params["id"])
        if found is None:
            raise Refusal("there is no such endpoint")
        return found

    def _made(self, number: int, body: EndpointBody) -> Endpoint:
        secrets = body.secrets or [self._secret]
        unknown = set(body.types or ()) - {*EVENTS, *CONNECT_EVENTS}
        if unknown:
            raise Refusal(f"Airtm declares no events {', '.join(sorted(unknown))}")
        try:
            for secret in secrets:
                key_of(secret)
            url = check_target(body.url)
        except (BadSecret, BadEndpoint) as error:
            raise Refusal(str(error)) from error
        return Endpoint(f"ep_{number}", url, list(secrets), body.types, body.bare, body.early_seconds)


def endpoints_for(urls: Sequence[str], secret: str) -> list[Endpoint]:
    """Endpoints that get all events, signed with one secret. Raises BadEndpoint."""
    return [Endpoint(f"ep_{number}", check_target(url), [secret]) for number, url in enumerate(urls, 1)]
