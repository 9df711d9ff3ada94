"""The doorbell: whoever has committed something rings, and whoever waits for it looks at once (design 7, 8).

It carries no news, only that there are some. A process rings its own listeners directly and all others through
Redis, in the background: no request waits for that, and none fails when Redis is away. What is not heard is found at
the next interval, as every listener looks by itself now and then.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from typing import Any, Final, Literal

import redis.asyncio as redis
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from offerhub.kernel.chance import jitter
from offerhub.kernel.ids import new_id
from offerhub.runtime.cancellation import end, heed_cancellation

Topic = Literal["events", "jobs"]

CHANNEL: Final = "offerhub:doorbell"
PAUSE_SECONDS: Final = 0.02
"""Between two publications: what is rung meanwhile is one publication."""
ANSWER_SECONDS_MAX: Final = 1.0
LISTEN_SECONDS: Final = 5.0
"""How long one wait for a message takes; a connection that has died in silence is found then."""
RETRY_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


class Doorbell:
    """Rings in this process and, while it is `at_work`, in all others that use the same Redis."""

    def __init__(self, redis_url: str) -> None:
        """An empty URL rings in this process only."""
        self._client = None
        if redis_url:
            self._client = redis.Redis.from_url(
                redis_url,
                socket_timeout=ANSWER_SECONDS_MAX,
                socket_connect_timeout=ANSWER_SECONDS_MAX,
                retry=Retry(NoBackoff(), 0),
                decode_responses=True,
            )
        self._name = new_id("req")
        self._listeners: dict[Topic, list[Callable[[], None]]] = {"events": [], "jobs": []}
        self._unpublished: set[str] = set()
        self._rung = asyncio.Event()

    def ring(self, topics: Collection[str]) -> None:
        """Something about these topics was committed. Never waits; call it on the loop of the listeners."""
        self._tell(topics)
        if self._client is not None:
            self._unpublished.update(topics)
            self._rung.set()

    @contextlib.contextmanager
    def heard(self, topic: Topic, listener: Callable[[], None]) -> Iterator[None]:
        """Call `listener` at every ring while the block runs."""
        self._listeners[topic].append(listener)
        try:
            yield
        finally:
            self._listeners[topic].remove(listener)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Ring in other processes, and hear them, while the block runs."""
        client = self._client
        if client is None:
            yield
            return
        parts = (self._publish(client), self._listen(client))
        tasks = [asyncio.create_task(part, name="doorbell") for part in parts]
        try:
            yield
        finally:
            await end(*tasks)
            await client.aclose()

    def _tell(self, topics: Collection[str]) -> None:
        for topic, listeners in self._listeners.items():
            if topic in topics:
                for listener in listeners:
                    listener()

    async def _publish(self, client: "redis.Redis") -> None:
        while True:
            await self._rung.wait()
            self._rung.clear()
            message = " ".join([self._name, *sorted(self._unpublished)])
            self._unpublished.clear()
            try:
                await client.publish(CHANNEL, message)
            except (RedisError, OSError) as error:
                await self._outage("out", error)
            heed_cancellation()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self, client: "redis.Redis") -> None:
        while True:
            heard = client.pubsub(ignore_subscribe_messages=True)
            try:
                await heard.subscribe(CHANNEL)
                self._tell(self._listeners)  # whatever was not heard meanwhile
                while True:
                    self._hear(await heard.get_message(timeout=LISTEN_SECONDS))
                    heed_cancellation()
            except (RedisError, OSError) as error:
                await self._outage("in", error)
            finally:
                with contextlib.suppress(RedisError, OSError):
                    await heard.aclose()  # type: ignore[no-untyped-call]

    def _hear(self, message: dict[str, Any] | None) -> None:
        if message is not None:
            sender, *topics = str(message["data"]).split()
            if sender != self._name:
                self._tell(topics)

    async def _outage(self, way: str, error: Exception) -> None:
        log.warning("doorbell_silent", way=way, error=repr(error))
        await asyncio.sleep(jitter(RETRY_SECONDS))
