"""The guide to the sandbox works as it stands on the page, on a sandbox and a product of its own."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from offerhub.cli.development import sandbox_process
from support.documented import ROOT, run
from support.outside import LEDGER_SECONDS, World
from support.product import Marketplace, environment, running

GUIDE = ROOT / "docs" / "guides" / "sandbox.md"


@pytest.fixture(scope="module")
def own_sandbox() -> Iterator[dict[str, str]]:
    with sandbox_process(ledger_seconds=LEDGER_SECONDS, airtm_settle_seconds=0) as environ:
        yield environ


@pytest.fixture
async def own_shop(
    fresh_database_url: str, product_redis_url: str, own_sandbox: dict[str, str], http: aiohttp.ClientSession
) -> AsyncIterator[Marketplace]:
    environ = environment(fresh_database_url, product_redis_url, own_sandbox, PAYMENT_PROVIDER="airtm")
    async with running(environ) as live:
        yield await Marketplace.found(live, World(own_sandbox, http), http)
        await live.assert_books_hold()


async def test_the_commands_of_the_guide_work(own_shop: Marketplace, tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("the examples need curl")
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "API": f"{own_shop.live.url}/api/v1",
        "KEY": own_shop.credential,
        "OFFERHUB_SANDBOX_URL": own_shop.world.environ["OFFERHUB_SANDBOX_URL"],
    }
    await asyncio.to_thread(run, GUIDE, "sh", environ, tmp_path)


async def test_the_programs_of_the_guide_work(own_sandbox: dict[str, str], tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "SANDBOX": own_sandbox["OFFERHUB_SANDBOX_URL"]}
    await asyncio.to_thread(run, GUIDE, "python", environ, tmp_path)
