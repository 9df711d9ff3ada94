"""Every scenario of this folder ends with the world whole: faults are taken away, and the money is all there."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from offerhub.cli.development import sandbox_process
from support.outside import LEDGER_SECONDS, World
from support.product import Running, running


@pytest.fixture(autouse=True)
async def _mended(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Faults end with the test that asked for them."""
    yield
    if "world" in request.fixturenames and isinstance(world := request.getfixturevalue("world"), World):
        await world.mend()


@pytest.fixture(scope="module")
def own_sandbox() -> Iterator[dict[str, str]]:
    """A sandbox of a module's own, whose time may jump and whose network may begin anew."""
    with sandbox_process(ledger_seconds=LEDGER_SECONDS, airtm_settle_seconds=0) as environ:
        yield environ


@pytest.fixture(scope="module")
def own_world(own_sandbox: dict[str, str], http: aiohttp.ClientSession) -> World:
    """Its controls."""
    return World(own_sandbox, http)


@pytest.fixture(scope="module")
async def own_live(office_environ: dict[str, str], own_sandbox: dict[str, str]) -> AsyncIterator[Running]:
    """A product beside it."""
    there = {name: value for name, value in own_sandbox.items() if not name.startswith("OFFERHUB_")}
    async with running({**office_environ, **there}) as live:
        yield live
