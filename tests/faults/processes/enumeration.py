"""Which points are tried, and how a flow that was disturbed at one is held against one that was not.

`make test-long` tries every point of every flow; `make test` a few, which move with a seed that is printed.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from faults.processes.flows import Flow, Thing
from faults.processes.runner import Report
from faults.processes.stage import Couple, Picture, Stage
from faults.processes.zygote import Zygote
from support.long_runs import long_runs

T = TypeVar("T")
SEED: Final = "OFFERHUB_CRASH_SEED"
COUPLES: Final = 6 if long_runs() else 2
"""How many flows are on their way at a time, each of a couple of its own."""


def chance() -> random.Random:
    """What draws points; a run is repeated with the seed that it has printed."""
    seed = int(os.environ.get(SEED, random.SystemRandom().randrange(10**6)))
    print(f"drawn with {SEED}={seed}")
    return random.Random(seed)


@dataclass(frozen=True)
class Whole:
    """A run that nothing disturbed: what it did, and what it left."""

    report: Report
    picture: Picture


@dataclass
class Theatre:
    """The stage, what processes are forked from, and the undisturbed run of each flow."""

    stage: Stage
    zygote: Zygote
    _whole: dict[str, Whole] = field(default_factory=dict)

    async def whole(self, flow: Flow, couple: Couple) -> Whole:
        """The flow's undisturbed run, which must come to what is said of the flow."""
        if flow.name not in self._whole:
            thing = await self.stage.thing(flow, couple)
            report = await self.zygote.run(self.stage.task(flow, thing))
            picture = await self.stage.picture(flow, thing)
            assert picture["kinds"] == list(flow.ends), picture
            self._whole[flow.name] = Whole(report, picture)
        return self._whole[flow.name]

    async def each(self, flow: Flow, points: Sequence[T], work: Callable[[Flow, T, Thing], Awaitable[None]]) -> None:
        """Do the work at every point, about a new thing each, several at a time where they do not meet."""
        left = list(reversed(points))

        async def serve(couple: Couple) -> None:
            while left:
                point = left.pop()
                await work(flow, point, await self.stage.thing(flow, couple))

        async with asyncio.TaskGroup() as group:
            for couple in self.stage.couples[:1] if flow.alone else self.stage.couples:
                group.create_task(serve(couple))

    async def flows(self, flows: Sequence[Flow], work: Callable[[Flow, Couple], Awaitable[None]]) -> None:
        """Do the work with each of these: first those that are of a couple, several at a time, then the others."""
        left = [flow for flow in flows if not flow.alone]

        async def serve(couple: Couple) -> None:
            while left:
                await work(left.pop(), couple)

        async with asyncio.TaskGroup() as group:
            for couple in self.stage.couples:
                group.create_task(serve(couple))
        for flow in flows:
            if flow.alone:
                await work(flow, self.stage.couples[0])
