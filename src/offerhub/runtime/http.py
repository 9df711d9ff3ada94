"""Calls to the outside, as thin as they can be: one session, a time-out and a size limit on every call.

Nothing is repeated here (for the one exception see `HttpClient`): whether a call may be made again is for the
caller to know. What the client does tell apart is whether a failed call can have had an effect: `NotSent` is
certain that it had none, `NoAnswer` is not. Redirects are not followed, because a provider that moves must be
configured anew, and credentials must never follow a `Location` header.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from types import TracebackType
from typing import Any, Final, Literal, NoReturn, Protocol, Self, TypeAlias

import aiohttp

from offerhub.runtime import spans
from offerhub.runtime.targets import Targets

TIMEOUT_SECONDS_DEFAULT: Final = 30.0
RESPONSE_BYTES_MAX: Final = 16 * 1024 * 1024
"""A full Horizon page of 200 records with their transactions joined stays well below this."""

_READ_BYTES: Final = 64 * 1024

Method: TypeAlias = Literal["GET", "POST", "DELETE"]


class NotSent(Exception):
    """Nothing left this process, be it that no connection could be made: the request certainly had no effect."""


class NoAnswer(Exception):
    """The request may have been sent and no complete answer came: its effect is unknown."""


class GarbledAnswer(ValueError):
    """The answer is not the JSON it should be."""


class OutsideCallHook(Protocol):
    """Called around every call to the outside; fault tests crash or raise inside it."""

    def before(self, name: str) -> None:
        """The call is about to be made."""
        ...

    def after(self, name: str) -> None:
        """The call has been answered in full."""
        ...


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer. Header names are lower-case. `is_cut` when the caller allowed that its body be cut short."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool = False

    def json(self) -> Any:
        """The decoded body, with every number that has a fraction or exponent as a Decimal.

        Raises GarbledAnswer for anything that is not JSON, NaN and Infinity included.
        """
        try:
            return json.loads(self.body, parse_float=Decimal, parse_constant=_refuse_constant)
        except (ValueError, RecursionError, InvalidOperation) as error:
            # InvalidOperation: an exponent beyond what a Decimal can hold.
            raise GarbledAnswer(f"HTTP {self.status}, not JSON: {self.body[:80]!r}") from error

    @property
    def text(self) -> str:
        """The body for a human, undecodable bytes replaced."""
        return self.body.decode("utf-8", "replace")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


class Caller(Protocol):
    """Whoever makes calls: the HTTP client itself, or the line to a provider in front of it."""

    async def call(
        self,
        method: Method,
        url: str,
        *,
        name: str,
        timeout_seconds: float = TIMEOUT_SECONDS_DEFAULT,
        headers: Mapping[str, str] | None = None,
        query: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        response_bytes_max: int = RESPONSE_BYTES_MAX,
    ) -> Response:
        """As `HttpClient.call`."""
        ...


class HttpClient:
    """One shared session. Use it as an async context manager, or call `close()` in the end.

    aiohttp repeats one thing by itself, once: a GET or DELETE whose connection was closed before an answer. It never
    repeats a POST. So the answer to a DELETE may be that of a second one, which finds it done already.

    With `targets` it calls addresses that strangers have named: only those that the guard lets through, and what they
    answer is not unpacked, as a small answer may unpack to a very large one.
    """

    def __init__(self, hook: OutsideCallHook | None = None, *, targets: Targets | None = None) -> None:
        self.hook = hook
        self._targets = targets
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; a later call would open new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self,
        method: Method,
        url: str,
        *,
        name: str,
        timeout_seconds: float = TIMEOUT_SECONDS_DEFAULT,
        headers: Mapping[str, str] | None = None,
        query: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        response_bytes_max: int = RESPONSE_BYTES_MAX,
        cut: bool = False,
    ) -> Response:
        """Make one call and read the whole answer, whatever its status.

        `name` is what the hook is told, such as `horizon.submit`. The time-out covers everything from the
        connection to the last byte. Raises NotSent or NoAnswer; an answer that is larger than
        `response_bytes_max` counts as NoAnswer, unless it may be `cut` short, and so does a DELETE that found no
        connection.
        """
        with spans.call(name, method, url) as span:
            if self.hook is not None:
                self.hook.before(name)
            try:
                async with self._opened().request(
                    method,
                    url,
                    params=query,
                    headers=headers,
                    data=body,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=timeout_seconds),
                ) as answer:
                    response = await _read(answer, response_bytes_max, cut)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
                # A DELETE may have gone out on a connection that was lost, and only its repetition found no other.
                failure = NoAnswer if method == "DELETE" else NotSent
                raise failure(f"{name}: {type(error).__name__}: {error}") from error
            except (aiohttp.ClientError, OSError) as error:
                raise NoAnswer(f"{name}: {type(error).__name__}: {error}") from error
            spans.responded(span, response.status)
            if self.hook is not None:
                self.hook.after(name)
            return response

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # The session binds to the running loop, so it cannot be made in the constructor.
            # No limit on connections here: each provider's line has its own, and none may starve another.
            targets = self._targets
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, socket_factory=targets.socket if targets else None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=targets is None,
            )
        return self._session


async def _read(answer: aiohttp.ClientResponse, bytes_max: int, cut: bool) -> Response:
    body = bytearray()
    async for piece in answer.content.iter_chunked(_READ_BYTES):
        body += piece
        if len(body) > bytes_max:
            if cut:
                break
            raise aiohttp.ClientPayloadError(f"more than {bytes_max} bytes")
    headers = {key.lower(): value for key, value in answer.headers.items()}
    return Response(answer.status, headers, bytes(body[:bytes_max]), is_cut=len(body) > bytes_max)
