"""What is measured, what it is measured against, and what is wanted of it (issue 7)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Group = Literal["calls", "webhooks", "streams", "start", "growth"]
"""Which part of the bench measures it: each has servers of its own, and pgbench beside it where there is a ratio."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One line of the table.

    Its figure is `unit`. With `against` what counts is the figure divided by that flow's of the same round. `bar` and
    `aim` are what is wanted of that, at least or, if so, `at_most`. `script` is what the load generator sends, by
    `connections` clients (None: as many as asked for).
    """

    name: str
    group: Group = "calls"
    unit: str = "/s"
    against: str | None = None
    bar: float | None = None
    aim: float | None = None
    at_most: bool = False
    script: str | None = None
    connections: int | None = None

    def verdict(self, reached: float | None) -> str:
        """`aim`, `bar` or `missed`; nothing where nothing is wanted."""
        if reached is None or self.bar is None or self.aim is None:
            return ""
        sign = -1 if self.at_most else 1
        if sign * reached >= sign * self.aim:
            return "aim"
        return "bar" if sign * reached >= sign * self.bar else "missed"


FLOWS: Final = (
    Flow("pgbench_spread"),
    Flow("credit_spread", against="pgbench_spread", bar=0.30, aim=0.50),
    Flow("credit_skewed", against="credit_spread", bar=0.6, aim=0.9),
    Flow("credit_256", against="credit_spread", bar=0.9, aim=1.1, script="credit_spread", connections=256),
    Flow("credit_half", unit="p99/p50", bar=5, aim=3, at_most=True, script="credit_spread"),
    Flow("order_reserve", against="pgbench_spread", bar=0.25, aim=0.40),
    Flow("user_create", against="pgbench_spread", bar=0.25, aim=0.40),
    Flow("ledger_spread", against="pgbench_spread", bar=0.6, aim=0.9),
    Flow("pgbench_hot"),
    Flow("credit_hot", against="pgbench_hot", bar=0.50, aim=1.0),
    Flow("ledger_hot", against="pgbench_hot", bar=1.0, aim=2.0),
    Flow("pgbench_select"),
    Flow("balance_read", against="pgbench_select", bar=0.20, aim=0.40),
    Flow("health"),
    Flow("pgbench_beside_webhooks", "webhooks", script="pgbench_spread"),
    Flow("webhook_intake", "webhooks", against="pgbench_beside_webhooks", bar=0.35, aim=0.60),
    Flow("webhook_settled", "webhooks", "s after", bar=2, aim=1, at_most=True),
    Flow("sse_deliveries", "streams", bar=25_000, aim=60_000),
    Flow("sse_memory", "streams", "kB each", bar=60, aim=25, at_most=True),
    Flow("cold_start", "start", "s", bar=1.2, aim=0.7, at_most=True),
    Flow("idle_memory", "start", "MB", bar=130, aim=90, at_most=True),
    Flow("growth_post", "growth", "ratio", bar=1.3, aim=1.1, at_most=True),
    Flow("growth_balance", "growth", "ratio", bar=1.3, aim=1.1, at_most=True),
    Flow("growth_list", "growth", "ratio", bar=1.3, aim=1.1, at_most=True),
)
"""In the order of a round; a yardstick comes before what is measured against it."""

NEEDS: Final = {"credit_half": "credit_spread", "webhook_settled": "webhook_intake"}
"""What else has to have been measured in the same round."""


def named(name: str) -> Flow:
    """The flow of this name."""
    return next(flow for flow in FLOWS if flow.name == name)


def wanted(name: str | None) -> Sequence[Flow]:
    """All flows; or the one of this name and whatever it is measured against."""
    if name is None:
        return FLOWS
    names: set[str] = set()
    ahead: list[str] = [name]
    while ahead:
        flow = named(ahead.pop())
        names.add(flow.name)
        ahead += [other for other in (flow.against, NEEDS.get(flow.name)) if other is not None]
    return [flow for flow in FLOWS if flow.name in names]
