"""Queues that no other test uses, on the Redis that all share."""

import secrets
from collections.abc import AsyncIterator

import pytest

from offerhub.runtime.queue import Queues


@pytest.fixture
def queue() -> str:
    """A queue's name."""
    return f"q{secrets.token_hex(6)}"


@pytest.fixture
async def queues(redis_url: str) -> AsyncIterator[Queues]:
    """The side that adds jobs."""
    queues = Queues(redis_url)
    yield queues
    await queues.close()
