"""The rate limit: GCRA in one Lua call, shared by all processes through Redis (contract 1.8).

An identity may spend its whole limit at once and regains it evenly over the window; unlike with fixed windows, no
boundary exists where twice the limit passes. When Redis does not answer in time, requests pass (fail open): the
limit protects capacity, it is not what keeps money safe.
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from offerhub.errors import RateLimited
from offerhub.kernel.clock import Clock, SystemClock
from offerhub.runtime.counted_redis import CountedRedis
from offerhub.runtime.redis_script import ANSWER_SECONDS_MAX, PromptScript
from offerhub.runtime.round_trips import note_redis
from offerhub.runtime.together import Together

_MICRO: Final = 1_000_000

# KEYS hold the theoretical arrival times in microseconds, one for each request; ARGV are microseconds per request and
# the limit. Redis' own clock decides, so that replicas with different clocks agree. What is left, how long to wait
# and when all is back are one text for all requests: the client reads a text at once, and a table number by number.
_GCRA: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local found = {}
for number, key in ipairs(KEYS) do
    local full = tonumber(redis.call('GET', key) or now)
    if full < now then full = now end
    local room = now + interval * limit - full
    if room < interval then
        found[number] = string.format('0 %.0f %.0f', interval - room, full)
    else
        full = full + interval
        redis.call('SET', key, string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
        found[number] = string.format('%.0f 0 %.0f', math.floor((room - interval) / interval), full)
    end
end
return table.concat(found, ' ')
"""
LANES: Final = 2
TOGETHER_MAX: Final = 64


class Allowance(msgspec.Struct, frozen=True):
    """What is left to an identity. `reset_at` is when all of it is back, in epoch seconds.

    `wait_seconds` is 0 when the request may pass, else how long until the next one may.
    """

    limit: int
    window_seconds: int
    remaining: int
    reset_at: int
    wait_seconds: int = 0

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The X-RateLimit headers."""
        return [
            (b"x-ratelimit-limit", b"%d" % self.limit),
            (b"x-ratelimit-remaining", b"%d" % self.remaining),
            (b"x-ratelimit-reset", b"%d" % self.reset_at),
        ]

    def refusal(self) -> RateLimited:
        """The refusal of a request that may not pass; both spellings of each detail are on the wire."""
        whole_minutes, rest = divmod(self.window_seconds, 60)
        return RateLimited(
            limit=self.limit,
            windowSeconds=self.window_seconds,
            window=f"{self.window_seconds}s" if rest else f"{whole_minutes}m",
            retryAfter=self.wait_seconds,
            retry_after=self.wait_seconds,
        )


class RateLimiter:
    """`limit` requests per `window_seconds` for each identity.

    Requests that come while Redis is being asked are asked about together, in the next call.
    """

    def __init__(
        self,
        client: "redis.asyncio.Redis",
        *,
        limit: int,
        window_seconds: int,
        clock: Clock | None = None,
    ) -> None:
        assert limit >= 1
        assert window_seconds >= 1
        self.limit = limit
        self.window_seconds = window_seconds
        self._client = client
        self._interval_micros = window_seconds * _MICRO // limit
        self._clock = clock or SystemClock()
        self._script = PromptScript(
            client, _GCRA, self._clock, warning="rate_limit_off", facts={"reason": "Redis does not answer"}
        )
        self._together: Together[str, Sequence[int] | None] = Together(self._ask, lanes=LANES, most=TOGETHER_MAX)

    @classmethod
    def connect(cls, redis_url: str, *, limit: int, window_seconds: int, clock: Clock | None = None) -> "RateLimiter":
        """A limiter on its own connections, which never retry and give up after a quarter of a second."""
        client = CountedRedis.from_url(
            redis_url,
            socket_timeout=ANSWER_SECONDS_MAX,
            socket_connect_timeout=ANSWER_SECONDS_MAX,
            retry=Retry(NoBackoff(), 0),
        )
        return cls(client, limit=limit, window_seconds=window_seconds, clock=clock)

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    async def take(self, identity: str) -> Allowance:
        """Count one request; it passes when nothing was left to wait for, or when Redis does not answer."""
        note_redis()
        found = await self._together.ask(f"rate_limit:{identity}")
        if found is None:
            return self.unlimited()
        remaining, wait_micros, full_at_micros = found
        return Allowance(
            limit=self.limit,
            window_seconds=self.window_seconds,
            remaining=remaining,
            reset_at=math.ceil(full_at_micros / _MICRO),
            wait_seconds=math.ceil(wait_micros / _MICRO),
        )

    async def _ask(self, keys: list[str]) -> Sequence[Sequence[int] | None]:
        found: bytes | None = await self._script.ask(keys, [self._interval_micros, self.limit])
        if found is None:
            return [None] * len(keys)
        numbers = [int(word) for word in found.split()]
        return [numbers[start : start + 3] for start in range(0, len(numbers), 3)]

    def unlimited(self) -> Allowance:
        """The allowance of a request that is not counted."""
        reset_at = math.ceil(self._clock.now().timestamp()) + self.window_seconds
        return Allowance(self.limit, self.window_seconds, self.limit, reset_at)
