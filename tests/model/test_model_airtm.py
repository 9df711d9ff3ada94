"""A marketplace whose money comes in through Airtm, with a treasury, against its model."""

import aiohttp
import pytest
from market_play import play

from support.long_runs import Tally
from support.outside import World
from support.product import fill_treasury, running

pytestmark = pytest.mark.long_form


async def test_every_answer_and_every_balance_is_the_model_s(
    office_environ: dict[str, str], world: World, http: aiohttp.ClientSession, tally: Tally
) -> None:
    async with running({**office_environ, "PAYMENT_PROVIDER": "airtm"}) as live:
        await fill_treasury(live, world, "1000000")
        await play(live, world, http, "airtm", tally)
