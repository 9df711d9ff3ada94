"""An error of the database at any statement of a money movement: a clear answer, and the money moves exactly once.

The process lives on. Its client hears that it shall ask again, or notices nothing; it asks again with the same key.
What comes of it is to the row what an undisturbed run leaves.
"""

import itertools
from typing import Final

import pytest

from faults.processes.enumeration import Theatre, chance
from faults.processes.flows import FLOWS, Flow, Thing
from faults.processes.fuse import ERRORS
from faults.processes.stage import Couple
from support.long_runs import Tally

FLOWS_DRAWN: Final = 12
"""So many flows meet an error in `make test`."""


async def _disturb(theatre: Theatre, flow: Flow, error: str, statement: int, thing: Thing) -> int:
    """Let an error happen; returns 1, or 0 when the flow ended before."""
    stage, whole = theatre.stage, await theatre.whole(flow, theatre.stage.couples[0])
    report = await theatre.zygote.run(stage.task(flow, thing, error=error, error_at=statement))
    found = await stage.picture(flow, thing)
    assert found == whole.picture, f"{flow.name}: {error} at statement {statement}: {report.blown_at}"
    return int(bool(report.blown_at))


async def test_f26_an_error_at_drawn_statements_changes_nothing_but_the_time_it_takes(
    theatre: Theatre, tally: Tally
) -> None:
    drawing = chance()
    errors = itertools.cycle(drawing.sample(ERRORS, len(ERRORS)))

    async def work(flow: Flow, couple: Couple) -> None:
        total = (await theatre.whole(flow, couple)).report.statements
        thing = await theatre.stage.thing(flow, couple)
        point = drawing.randrange(1, total + 1)
        tally("errors injected", await _disturb(theatre, flow, next(errors), point, thing))

    await theatre.flows(drawing.sample(list(FLOWS.values()), FLOWS_DRAWN), work)
    await theatre.stage.assert_conserved()


@pytest.mark.long
@pytest.mark.parametrize("name", FLOWS)
async def test_f26_an_error_at_every_statement_changes_nothing_but_the_time_it_takes(
    theatre: Theatre, tally: Tally, name: str
) -> None:
    flow = FLOWS[name]
    total = (await theatre.whole(flow, theatre.stage.couples[0])).report.statements

    async def work(flow: Flow, point: tuple[int, str], thing: Thing) -> None:
        tally("errors injected", await _disturb(theatre, flow, point[1], point[0], thing))

    await theatre.each(flow, list(itertools.product(range(1, total + 1), ERRORS)), work)
    # Others have asked the network a time more: on to where the flow is over.
    couple = theatre.stage.couples[0]
    for statement, error in ((more, error) for more in itertools.count(total + 1) for error in ERRORS):
        if not await _disturb(theatre, flow, error, statement, await theatre.stage.thing(flow, couple)):
            break
        tally("errors injected")
    await theatre.stage.assert_conserved()
    print(f"{name}: {total} statements")
