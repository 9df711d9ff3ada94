"""The line to a provider: every call to it passes here, and a provider's bad day stays its own (decision 0028).

    breaker → places (bulkhead) → request budget → HttpClient

A call that the line holds back raises HeldBack, which is a NotSent: it certainly had no effect. Whatever was sent
keeps the outcome it had, and an unknown one stays unknown. Only reads (GET) are repeated here, within the time that
one call may take; a POST or DELETE leaves at most once.
"""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal

import stamina
import structlog

from offerhub.kernel.clock import Clock
from offerhub.runtime.breaker import Breaker, BreakerState, Permit
from offerhub.runtime.budget import BudgetSpent, RequestBudget
from offerhub.runtime.bulkhead import Bulkhead, NoPlace
from offerhub.runtime.http import (
    RESPONSE_BYTES_MAX,
    TIMEOUT_SECONDS_DEFAULT,
    Caller,
    Method,
    NoAnswer,
    NotSent,
    Response,
)
from offerhub.runtime.urgency import Urgency, current

ORDINARY_QUEUE_SECONDS_MAX: Final = 5.0
"""How long a call waits for its place and budget at most when no money depends on it: somebody looks at a page."""
RESERVED_SHARE: Final = 4
"""One place in four is for critical calls alone."""
RETRY_SECONDS: Final = 0.1
RETRY_SECONDS_MAX: Final = 2.0
ATTEMPT_SHARE_MIN: Final = 10
"""A read is not attempted again with less than a tenth of its time left: that would only look like a failure."""
RETRY_AFTER_SECONDS_MAX: Final = 60.0
"""A provider that asks for more than this is asked again nevertheless."""

Held = Literal["breaker_open", "no_place", "budget_spent", "asked_to_wait"]
Observer = Callable[[str, str, float], None]
"""Told the provider, the outcome and the seconds of each attempted call."""
CallOutcome = Literal["answered", "refused", "rate_limited", "server_error", "no_answer", "not_sent"]

_WORDS: Final[Mapping[Held, str]] = {
    "breaker_open": "is left alone for a while, after failures in a row",
    "no_place": "is busy with as many of our calls as it may get at a time",
    "budget_spent": "has had as many of our calls as it allows",
    "asked_to_wait": "has asked us to wait",
}

log: Final = structlog.stdlib.get_logger(__name__)

# Its own log lines would repeat the words of aiohttp, which may quote an address with a user's e-mail in it.
stamina.instrumentation.set_on_retry_hooks(())


class HeldBack(NotSent):
    """The line did not let the call out: it certainly had no effect. The message is fit for an error's details."""

    def __init__(self, provider: str, reason: Held) -> None:
        super().__init__(f"{provider} {_WORDS[reason]}; this call was not sent.")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LineOptions:
    """`places` calls at a time; `attempts` of a read; the breaker opens after `breaker_failures` in a row for
    `breaker_seconds`; a call waits for `queue_seconds` at most before it is sent. `neutral` answers, by method and
    status, say nothing about the provider's health.
    """

    places: int = 20
    attempts: int = 3
    breaker_failures: int = 10
    breaker_seconds: float = 15.0
    queue_seconds: float = 30.0
    neutral: frozenset[tuple[Method, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class LineSnapshot:
    """What a line has done since the process began, and how it is now."""

    provider: str
    breaker: BreakerState
    places_taken: int
    waiting: int
    calls: Mapping[CallOutcome, int]
    """By outcome; each attempt counts."""
    retries: int
    held_back: Mapping[Held, int]
    breaker_transitions: Mapping[BreakerState, int]
    counted_alone: int
    """Requests that this process counted for itself because the shared budget could not be reached."""


@dataclass(slots=True)
class _Counts:
    calls: Counter[CallOutcome] = field(default_factory=Counter)
    held_back: Counter[Held] = field(default_factory=Counter)
    retries: int = 0


@dataclass(slots=True)
class _Trip:
    """One call on its way. Its time runs from when it is first let out, over all attempts."""

    method: Method
    name: str
    urgency: Urgency
    timeout_seconds: float
    send: Callable[[float], Awaitable[Response]]
    deadline: float | None = None

    def has_time(self, start: float) -> bool:
        """True when an attempt that starts then is worth making."""
        return self.deadline is not None and start < self.deadline - self.timeout_seconds / ATTEMPT_SHARE_MIN


class _Passing(Exception):
    """An attempt came to something that another one may better."""

    def __init__(self, outcome: Response | NotSent | NoAnswer, *, is_last: bool = False) -> None:
        super().__init__()
        self.outcome = outcome
        self.is_last = is_last


def _unobserved(_provider: str, _outcome: str, _seconds: float) -> None:
    """Nobody watches."""


class Line:
    """The line to one provider, used in place of the HttpClient behind it. Without a budget, calls are not paced."""

    def __init__(
        self,
        provider: str,
        http: Caller,
        clock: Clock,
        options: LineOptions,
        budget: RequestBudget | None = None,
        observe: Observer = _unobserved,
    ) -> None:
        self.provider = provider
        self._observe = observe
        self._http = http
        self._clock = clock
        self._options = options
        self._budget = budget
        self._bulkhead = Bulkhead(places=options.places, reserved=options.places // RESERVED_SHARE)
        self._breaker = Breaker(
            provider, clock, failures_max=options.breaker_failures, open_seconds=options.breaker_seconds
        )
        self._quiet_until = 0.0
        self._counts = _Counts()
        self._repeat = stamina.AsyncRetryingCaller(
            attempts=options.attempts,
            timeout=None,
            wait_initial=RETRY_SECONDS,
            wait_max=RETRY_SECONDS_MAX,
            wait_jitter=RETRY_SECONDS,
        )

    @property
    def breaker(self) -> BreakerState:
        """The state of the circuit breaker."""
        return self._breaker.state

    def snapshot(self) -> LineSnapshot:
        """The numbers now."""
        return LineSnapshot(
            provider=self.provider,
            breaker=self._breaker.state,
            places_taken=self._bulkhead.taken,
            waiting=self._bulkhead.waiting,
            calls=dict(self._counts.calls),
            retries=self._counts.retries,
            held_back=dict(self._counts.held_back),
            breaker_transitions=self._breaker.transitions,
            counted_alone=0 if self._budget is None else self._budget.counted_alone,
        )

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
        """Make one call as `HttpClient.call` does, or several when it is a read that fails in passing.

        The time-out covers everything from the first attempt's start to the last byte of the last one; waiting to
        be let out comes before it. Raises HeldBack, NotSent or NoAnswer.
        """

        async def send(seconds: float) -> Response:
            return await self._http.call(
                method,
                url,
                name=name,
                timeout_seconds=seconds,
                headers=headers,
                query=query,
                body=body,
                response_bytes_max=response_bytes_max,
            )

        trip = _Trip(method, name, current(), timeout_seconds, send)
        if method != "GET" or trip.urgency is Urgency.PROBE:
            return await self._attempt(trip)
        return await self._read(trip)

    async def _read(self, trip: _Trip) -> Response:
        """Attempt it until it comes to something lasting, or until its attempts or its time are used up."""
        earlier: _Passing | None = None

        def may_repeat(error: Exception) -> bool:
            return isinstance(error, _Passing) and not error.is_last and self._has_time(trip)

        async def once() -> Response:
            nonlocal earlier
            if earlier is not None:
                self._counts.retries += 1
            try:
                response = await self._attempt(trip)
            except HeldBack:
                if earlier is None:
                    raise
                # What an earlier attempt came to is nearer to the truth than that this one was not made.
                raise _Passing(earlier.outcome, is_last=True) from None
            except (NotSent, NoAnswer) as error:
                earlier = _Passing(error)
                raise earlier from error
            if response.status == 429 or response.status >= 500:
                earlier = _Passing(response)
                raise earlier
            return response

        try:
            return await self._repeat(may_repeat, once)
        except _Passing as passing:
            if isinstance(passing.outcome, Response):
                return passing.outcome
            raise passing.outcome from passing.outcome.__cause__

    def _has_time(self, trip: _Trip) -> bool:
        """True when another attempt can be let out before the call's time is over."""
        start = max(self._clock.monotonic() + RETRY_SECONDS, self._quiet_until)
        return trip.has_time(start)

    async def _attempt(self, trip: _Trip) -> Response:
        async with self._let_out(trip) as permit:
            now = self._clock.monotonic()
            if trip.deadline is None:
                trip.deadline = now + trip.timeout_seconds
            elif not trip.has_time(now):
                raise self._held("no_place")
            try:
                response = await trip.send(trip.deadline - now)
            except NotSent:
                permit.failed()
                self._count("not_sent", now)
                raise
            except NoAnswer:
                permit.failed()
                self._count("no_answer", now)
                raise
            self._judge(trip.method, response, permit, now)
            return response

    def _count(self, outcome: CallOutcome, started: float) -> None:
        self._counts.calls[outcome] += 1
        self._observe(self.provider, outcome, self._clock.monotonic() - started)

    def _judge(self, method: Method, response: Response, permit: Permit, started: float) -> None:
        """What an answer tells about the provider. A refusal of ours is a provider in good health."""
        status = response.status
        if status == 429 or status >= 500:
            self._count("rate_limited" if status == 429 else "server_error", started)
            self._heed_retry_after(response)
            if status == 429 or (method, status) in self._options.neutral:
                permit.withdrawn()
            else:
                permit.failed()
            return
        self._count("answered" if status < 400 else "refused", started)
        permit.succeeded()

    @contextlib.asynccontextmanager
    async def _let_out(self, trip: _Trip) -> AsyncIterator[Permit]:
        """Wait until the call may go out; it holds its place while the block runs. Raises HeldBack."""
        now = self._clock.monotonic()
        until = now + self._patience(trip.urgency)
        if trip.deadline is not None:
            until = min(until, trip.deadline)
        is_probe = trip.urgency is Urgency.PROBE
        if self._breaker.refuses and not is_probe:
            raise self._held("breaker_open")
        if self._quiet_until > now:
            if self._quiet_until > until:
                raise self._held("asked_to_wait")
            await self._clock.sleep(self._quiet_until - now)
        try:
            async with self._bulkhead.place(trip.urgency, until - self._clock.monotonic()):
                # Only now: a breaker that opened meanwhile stops those who stood in the queue.
                permit = self._breaker.pass_by() if is_probe else self._breaker.enter()
                if permit is None:
                    raise self._held("breaker_open")
                try:
                    if self._budget is not None:
                        await self._budget.take(trip.urgency, until - self._clock.monotonic())
                    yield permit
                finally:
                    permit.withdrawn()
        except NoPlace:
            raise self._held("no_place") from None
        except BudgetSpent:
            raise self._held("budget_spent") from None

    def _patience(self, urgency: Urgency) -> float:
        if urgency is Urgency.CRITICAL:
            return self._options.queue_seconds
        return min(ORDINARY_QUEUE_SECONDS_MAX, self._options.queue_seconds)

    def _held(self, reason: Held) -> HeldBack:
        self._counts.held_back[reason] += 1
        return HeldBack(self.provider, reason)

    def _heed_retry_after(self, response: Response) -> None:
        seconds = self._retry_after(response.headers.get("retry-after", "").strip())
        if seconds > 0:
            until = self._clock.monotonic() + min(seconds, RETRY_AFTER_SECONDS_MAX)
            self._quiet_until = max(self._quiet_until, until)
            log.info("provider_asks_to_wait", provider=self.provider, status=response.status, seconds=seconds)

    def _retry_after(self, text: str) -> float:
        """The seconds that a Retry-After asks for, be they given as a number or as a moment; 0 when it is neither."""
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - self._clock.now()).total_seconds()
