"""Simultaneous requests, and what came of them."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import Final

from asgi_client import Heard
from offerhub.kernel.money import parse_chain_amount
from support.outside import World
from support.product import Marketplace, Person, unique

UNIT: Final = 10_000_000


def outcomes(heard: Sequence[Heard]) -> Counter[tuple[int, str]]:
    """How often each status and code was answered."""
    return Counter((one.status, one.code if one.status >= 400 else "") for one in heard)


async def at_once(*calls: Awaitable[Heard]) -> list[Heard]:
    """Make these calls simultaneously; their answers, in their order."""
    return list(await asyncio.gather(*calls))


async def credited(shop: Marketplace, amount: str) -> Person:
    """A user with a manual credit."""
    made = await shop.done("POST", "/users", {"externalUserId": unique("racer")}, status=201)
    person = Person(made["id"], made["wallet"]["publicKey"])
    if amount:
        await shop.credit(person, amount)
    return person


async def in_contract(world: World, contract: str) -> int:
    """Units of USDC that a contract holds on the chain."""
    state = await world.control("GET", "state")
    return next(parse_chain_amount(one["usdc"]) for one in state["contracts"] if one["address"] == contract)
