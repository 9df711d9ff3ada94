"""Every scenario of this folder ends with the world whole: faults are taken away, and the money is all there."""

from collections.abc import AsyncIterator

import pytest

from support.outside import World


@pytest.fixture(autouse=True)
async def _mended(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Faults end with the test that asked for them."""
    yield
    if "world" in request.fixturenames and isinstance(world := request.getfixturevalue("world"), World):
        await world.mend()
