"""A process killed at any point of a money movement is resumed by the next one, and the money moves exactly once.

Each flow is first run whole, to count its points and to see what it leaves. Then it is run again and again: a real
process is killed (SIGKILL) before or after one statement or call, a fresh one does the same with the same keys, and
what they have left together is to the row what the undisturbed one left.
"""

import itertools
import signal

import pytest

from faults.processes.enumeration import Theatre, chance
from faults.processes.flows import FLOWS, Flow, Thing
from faults.processes.stage import Couple
from support.long_runs import Tally


async def _kill(theatre: Theatre, flow: Flow, point: int, thing: Thing) -> int:
    """Kill a process at a point and let the next one finish; returns 1, or 0 when the flow ended before."""
    stage, whole = theatre.stage, await theatre.whole(flow, theatre.stage.couples[0])
    died = await theatre.zygote.run(stage.task(flow, thing, kill_at=point))
    if died.signal:
        assert died.signal == signal.SIGKILL
        await theatre.zygote.run(stage.task(flow, thing, after=died.pid))
    assert await stage.picture(flow, thing) == whole.picture, (
        f"{flow.name}, killed at {point} of {whole.report.points}"
    )
    return int(bool(died.signal))


async def test_f26_killed_at_drawn_points_the_next_process_finishes_it_exactly_once(
    theatre: Theatre, tally: Tally
) -> None:
    drawing = chance()

    async def work(flow: Flow, couple: Couple) -> None:
        total = (await theatre.whole(flow, couple)).report.points
        point = drawing.randrange(1, total + 1)
        tally("crash points", await _kill(theatre, flow, point, await theatre.stage.thing(flow, couple)))

    await theatre.flows(list(FLOWS.values()), work)
    await theatre.stage.assert_conserved()


@pytest.mark.long
@pytest.mark.parametrize("name", FLOWS)
async def test_f26_killed_at_every_point_the_next_process_finishes_it_exactly_once(
    theatre: Theatre, tally: Tally, name: str
) -> None:
    flow = FLOWS[name]
    total = (await theatre.whole(flow, theatre.stage.couples[0])).report.points

    async def work(flow: Flow, point: int, thing: Thing) -> None:
        tally("crash points", await _kill(theatre, flow, point, thing))

    await theatre.each(flow, range(1, total + 1), work)
    # Others have asked the network a time more: on to where a process reaches its end.
    couple = theatre.stage.couples[0]
    for point in itertools.count(total + 1):
        if not await _kill(theatre, flow, point, await theatre.stage.thing(flow, couple)):
            break
        tally("crash points")
    await theatre.stage.assert_conserved()
    print(f"{name}: {total} points")
