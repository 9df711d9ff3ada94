"""What takes long, and how much of it was done.

Three kinds of tests: most run always; those marked `long` run only in `make test-long`; those marked `long_form` run
always, and do more of the same in `make test-long` (every crash point instead of a drawn few, more seeds).

What a test counts (crash points, seeds, races) it tells with the fixture `tally`; the run's last lines say the sums.
"""

import os
import random
from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

import pytest

LONG_RUNS: Final = "OFFERHUB_LONG_RUNS"
_TALLY: Final = "tally"

T = TypeVar("T")


class Tally(Protocol):
    """Count something that the run shall tell of, as `tally("crash points", 73)`."""

    def __call__(self, what: str, count: int = 1) -> None:
        """Add to what was counted under this name."""
        ...


def long_runs() -> bool:
    """True in `make test-long`."""
    return bool(os.environ.get(LONG_RUNS))


def drawn(items: Sequence[T], count: int) -> list[T]:
    """So many of them, drawn with a seed that is printed (`OFFERHUB_DRAW_SEED`), in their order; all in long runs."""
    if long_runs() or count >= len(items):
        return list(items)
    seed = int(os.environ.get("OFFERHUB_DRAW_SEED", random.SystemRandom().randrange(10**6)))
    print(f"drawn with OFFERHUB_DRAW_SEED={seed}")
    return [items[place] for place in sorted(random.Random(seed).sample(range(len(items)), count))]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long runs only when it is asked for."""
    if long_runs():
        return
    skip = pytest.mark.skip(reason=f"runs with {LONG_RUNS}=1 only")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Tell how much of something a test did."""

    def add(what: str, count: int = 1) -> None:
        request.node.user_properties.append((_TALLY, [what, count]))

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The sums of what was counted, also over several test processes."""
    sums: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, told in getattr(report, "user_properties", ()):
                if name == _TALLY:
                    what, count = told
                    sums[what] += count
    if sums:
        terminalreporter.write_line(
            "counted: " + ", ".join(f"{count:,} {what}" for what, count in sorted(sums.items()))
        )
