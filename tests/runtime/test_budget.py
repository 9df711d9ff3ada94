"""The request budget: no window holds more requests than it allows."""

from offerhub.providers.budget import RequestBudget

from offerhub.kernel.clock import ManualClock


async def test_no_window_ever_holds_more_than_the_budget() -> None:
    clock = ManualClock()
    budget = RequestBudget(clock, requests_max=3, window_seconds=60)
    sent = []
    for pause in (0, 10, 10, 0, 0, 0, 45, 0):
        clock.advance(pause)
        await budget.take()
        sent.append(clock.monotonic())
    assert sent[:3] == [0, 10, 20]
    assert sent[3:6] == [60, 70, 80]
    assert all(later - earlier >= 60 for earlier, later in zip(sent, sent[3:], strict=False))
