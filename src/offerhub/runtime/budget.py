"""The request budget: how often a provider is asked at most, by all processes together (decision 0029).

Airtm allows ten requests a second (providers.md 2.1), Trustless Work fifty in any sixty seconds (4.1). The moments
of the last requests are kept, so that no window of that length ever holds more; a bucket that refills evenly would
let twice as many through in the first window.

A critical request reserves its moment, be it in the future, and then waits for it: one question, and first come,
first served across all processes. The others reserve nothing: they go out at once or ask again later, and a share
of each window is not for them.
"""

import asyncio
from collections import deque
from typing import Final

import redis.asyncio

from offerhub.kernel.clock import Clock
from offerhub.runtime.redis_script import PromptScript
from offerhub.runtime.urgency import Urgency

RESERVED_SHARE: Final = 5
"""One request in five of each window is for critical calls alone."""
STRETCH_SHARE: Final = 20
STRETCH_SECONDS_MAX: Final = 1.0
"""A window is kept longer than it is, by a twentieth and at most this: the provider counts when requests arrive."""
CLOCK_STEP_SECONDS: Final = 300.0
"""Further ahead than anybody waits: such a reservation was made by a clock that has been set back since."""
_MICRO: Final = 1_000_000

# KEYS[1] lists the moments of the last requests in microseconds, newest first. ARGV: how many it keeps (the most in a
# window), the window, how many the window may hold for this caller, how long the caller would wait, and how far
# ahead a moment can be at most. Redis' own clock decides, so that processes with different clocks agree; after that
# clock was set back the list begins anew.
_RESERVE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window, patience = tonumber(ARGV[2]), tonumber(ARGV[4])
local newest = tonumber(redis.call('LINDEX', KEYS[1], 0) or 0)
if newest > now + window + tonumber(ARGV[5]) then
    redis.call('DEL', KEYS[1])
    newest = 0
end
local at = math.max(now, newest)
local last = redis.call('LINDEX', KEYS[1], ARGV[3] - 1)
if last then at = math.max(at, tonumber(last) + window) end
if at - now > patience then return {0, at - now} end
redis.call('LPUSH', KEYS[1], string.format('%.0f', at))
redis.call('LTRIM', KEYS[1], 0, ARGV[1] - 1)
redis.call('PEXPIRE', KEYS[1], math.ceil((at - now + window) / 1000))
return {1, at - now}
"""


class BudgetSpent(Exception):
    """The next request may go out only later than the caller would wait."""


class RequestBudget:
    """At most `requests_max` requests in any window; those beyond wait.

    With `client` and `key`, all processes that name the same key count together. While Redis does not answer, this
    process counts for itself; it remembers what it has sent meanwhile and before, so a Redis that comes back empty
    lets nothing through that this process knows to be too much.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        requests_max: int,
        window_seconds: float,
        client: "redis.asyncio.Redis | None" = None,
        key: str = "",
    ) -> None:
        assert requests_max > 0
        assert window_seconds > 0
        assert client is None or key
        self._clock = clock
        self._requests_max = requests_max
        self._ordinary_max = max(1, requests_max - max(1, requests_max // RESERVED_SHARE))
        self._window_seconds = window_seconds + min(STRETCH_SECONDS_MAX, window_seconds / STRETCH_SHARE)
        self._own: deque[float] = deque(maxlen=requests_max)
        self._turn = asyncio.Lock()
        self._key = key
        self._script = None
        if client is not None:
            self._script = PromptScript(client, _RESERVE, clock, warning="budget_not_shared", facts={"budget": key})
        self._counted_alone = 0

    @property
    def counted_alone(self) -> int:
        """How many requests this process has counted for itself because Redis did not answer."""
        return self._counted_alone

    async def take(self, urgency: Urgency, seconds_max: float) -> None:
        """Wait until one more request may go out, and count it. Raises BudgetSpent.

        A reservation whose caller gives up while waiting for it is lost.
        """
        if urgency is Urgency.CRITICAL:
            is_counted, wait = await self._reserve(self._requests_max, seconds_max)
            if not is_counted:
                raise BudgetSpent
            await self._pause(wait)
            return
        deadline = self._clock.monotonic() + seconds_max
        try:
            async with asyncio.timeout(max(0.0, seconds_max)), self._turn:
                while True:
                    is_counted, wait = await self._reserve(self._ordinary_max, 0.0)
                    if not is_counted and self._clock.monotonic() + wait > deadline:
                        raise BudgetSpent
                    await self._pause(wait)
                    if is_counted:
                        return
        except TimeoutError as error:
            raise BudgetSpent from error

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await self._clock.sleep(seconds)

    async def _reserve(self, allowed: int, patience_seconds: float) -> tuple[bool, float]:
        """Count a request if a window with `allowed` has room for it soon enough: (counted, seconds until then)."""
        found = await self._reserve_shared(allowed, patience_seconds)
        now = self._clock.monotonic()
        if found is not None:
            is_counted, wait = found
            return (True, self._note(now + wait, self._requests_max) - now) if is_counted else found
        at = self._earliest(now, allowed)
        if at - now > patience_seconds:
            return False, at - now
        if self._script is not None:
            self._counted_alone += 1
        return True, self._note(at, allowed) - now

    def _earliest(self, at: float, allowed: int) -> float:
        """The first moment from `at` on at which a window of ours holds fewer than `allowed` requests."""
        if self._own:
            at = max(at, self._own[-1])
        if len(self._own) >= allowed:
            at = max(at, self._own[-allowed] + self._window_seconds)
        return at

    def _note(self, at: float, allowed: int) -> float:
        at = self._earliest(at, allowed)
        self._own.append(at)
        return at

    async def _reserve_shared(self, allowed: int, patience_seconds: float) -> tuple[bool, float] | None:
        """What all processes together have room for, or None when that cannot be asked."""
        if self._script is None:
            return None
        spans = (self._window_seconds, patience_seconds, CLOCK_STEP_SECONDS)
        window, patience, step = (round(seconds * _MICRO) for seconds in spans)
        found = await self._script.ask([self._key], [self._requests_max, window, allowed, patience, step])
        if found is None:
            return None
        is_counted, wait_micros = found
        return bool(is_counted), wait_micros / _MICRO
