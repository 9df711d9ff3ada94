"""The circuit breaker: when it opens, who may try, and whose report counts."""

import pytest
from structlog.testing import capture_logs

from offerhub.kernel.clock import ManualClock
from offerhub.runtime.breaker import Breaker, Permit


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> Breaker:
    return Breaker("airtm", clock, failures_max=3, open_seconds=10)


def entered(breaker: Breaker) -> Permit:
    permit = breaker.enter()
    assert permit is not None
    return permit


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        entered(breaker).failed()


def test_it_opens_after_failures_in_a_row_only(breaker: Breaker) -> None:
    fail(breaker, 2)
    entered(breaker).succeeded()
    fail(breaker, 2)
    # Neither a success nor a failure: the row goes on.
    entered(breaker).withdrawn()
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert breaker.state == "open"
    assert breaker.enter() is None


def test_one_trial_closes_it(breaker: Breaker, clock: ManualClock) -> None:
    with capture_logs() as logs:
        fail(breaker, 3)
        clock.advance(10)
        assert breaker.state == "half_open"
        trial = entered(breaker)
        assert breaker.enter() is None, "one at a time"
        trial.succeeded()
    assert breaker.state == "closed"
    assert breaker.transitions == {"open": 1, "half_open": 1, "closed": 1}
    assert [line["event"] for line in logs] == ["breaker_opened", "breaker_closed"]
    fail(breaker, 2)
    assert breaker.state == "closed", "the count begins anew"


def test_a_failed_trial_opens_it_for_another_time(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(10)
    entered(breaker).failed()
    assert breaker.state == "open"
    clock.advance(9)
    assert breaker.enter() is None
    clock.advance(1)
    assert breaker.enter() is not None


def test_a_trial_that_came_to_nothing_lets_the_next_one_try(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(10)
    entered(breaker).withdrawn()
    assert breaker.state == "half_open"
    entered(breaker).succeeded()
    assert breaker.state == "closed"


def test_late_reports_tell_of_the_past(breaker: Breaker, clock: ManualClock) -> None:
    late = [entered(breaker) for _ in range(3)]
    fail(breaker, 3)
    late[0].succeeded()
    assert breaker.state == "open"
    clock.advance(10)
    late[1].failed()
    assert breaker.state == "half_open"
    trial = entered(breaker)
    late[2].withdrawn()
    assert breaker.enter() is None, "the trial is still under way"
    trial.succeeded()
    assert breaker.state == "closed"


def test_the_first_report_of_a_permit_counts(breaker: Breaker) -> None:
    for _ in range(3):
        permit = entered(breaker)
        permit.succeeded()
        permit.failed()
        permit.withdrawn()
    assert breaker.state == "closed"


def test_whoever_passes_by_is_neither_stopped_nor_counted(breaker: Breaker, clock: ManualClock) -> None:
    for _ in range(5):
        breaker.pass_by().failed()
    assert breaker.state == "closed"
    fail(breaker, 3)
    breaker.pass_by().succeeded()
    assert breaker.state == "open"
    clock.advance(10)
    breaker.pass_by().succeeded()
    assert breaker.state == "half_open"
