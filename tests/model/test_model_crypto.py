"""A marketplace whose money comes in over the chain, against its model."""

import aiohttp
import pytest
from market_play import play

from support.long_runs import Tally
from support.outside import World
from support.product import running

pytestmark = pytest.mark.long_form


async def test_every_answer_and_every_balance_is_the_model_s(
    office_environ: dict[str, str], world: World, http: aiohttp.ClientSession, tally: Tally
) -> None:
    async with running(office_environ) as live:
        await play(live, world, http, "crypto", tally)
