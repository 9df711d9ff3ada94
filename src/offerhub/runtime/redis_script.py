"""A Lua script that a request asks on its way: Redis answers promptly, or the caller goes on without it."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Final

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from offerhub.kernel.clock import Clock

ANSWER_SECONDS_MAX: Final = 0.25
REST_AFTER_FAILURE_SECONDS: Final = 1.0
WARNING_INTERVAL_SECONDS: Final = 30.0

log: Final = structlog.stdlib.get_logger(__name__)


class PromptScript:
    """One script. While Redis does not answer, the warning is logged now and then, with its facts."""

    def __init__(
        self, client: "redis.asyncio.Redis", source: str, clock: Clock, *, warning: str, facts: dict[str, str]
    ) -> None:
        self._script = client.register_script(source)
        self._clock = clock
        self._warning = warning
        self._facts = facts
        self._rest_until = -math.inf
        self._warn_again_at = -math.inf

    async def ask(self, keys: Sequence[str], args: Sequence[int]) -> Any | None:
        """What the script answers, or None: one call in a second pays for finding out whether Redis is back."""
        if self._clock.monotonic() < self._rest_until:
            return None
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                return await self._script(keys=keys, args=args)
        except (RedisError, OSError, TimeoutError) as error:
            self._note_failure(error)
            return None

    def _note_failure(self, error: BaseException) -> None:
        now = self._clock.monotonic()
        self._rest_until = now + REST_AFTER_FAILURE_SECONDS
        if now >= self._warn_again_at:
            self._warn_again_at = now + WARNING_INTERVAL_SECONDS
            log.warning(self._warning, error=type(error).__name__, **self._facts)
