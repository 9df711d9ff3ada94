"""A client of Redis whose calls count among a request's round trips."""

from typing import Any

import redis.asyncio
from redis.asyncio.client import Pipeline

from offerhub.runtime.round_trips import note_redis


class CountedRedis(redis.asyncio.Redis):
    """A client whose calls count. A pipeline is one call."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Ask, and count it."""
        note_redis()
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "Pipeline":
        """Commands that are sent together."""
        return _CountedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _CountedPipeline(Pipeline):
    async def execute(self, raise_on_error: bool = True) -> Any:
        note_redis()
        return await super().execute(raise_on_error)
