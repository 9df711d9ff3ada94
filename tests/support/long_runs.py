"""What takes long, and how much of it was done.

Three kinds of tests: most run always; those marked `long` run only in `make test-long`; those marked `long_form` run
always, and do more of the same in `make test-long` (every crash point instead of a drawn few, more seeds).

What a test counts (crash points, seeds, races) it tells with the fixture `tally`; the run's last lines say the sums.
"""

import os
from collections import Counter
from typing import Final, Protocol

import pytest

LONG_RUNS: Final = "OFFERHUB_LONG_RUNS"
_TALLY: Final = "tally"


class Tally(Protocol):
    """Count something that the run shall tell of, as `tally("crash points", 73)`."""

    def __call__(self, what: str, count: int = 1) -> None:
        """Add to what was counted under this name."""
        ...


def long_runs() -> bool:
    """True in `make test-long`."""
    return bool(os.environ.get(LONG_RUNS))


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
