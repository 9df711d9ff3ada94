"""What a load generator measures, and how it is handed from its process to the one that compares."""

import json
import math
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Measured:
    """One flow in one round. Latencies are milliseconds; `generator_cpu` is CPU seconds of the generator itself."""

    calls: int
    errors: int
    seconds: float
    p50_ms: float
    p99_ms: float
    generator_cpu: float
    faults: dict[str, int]

    @property
    def per_second(self) -> float:
        """Calls that succeeded, per second."""
        return self.calls / self.seconds

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `Recorder.report` printed."""
        return cls(**json.loads(text))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that this share of the values does not exceed; 0 for none.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else 0.0


class Recorder:
    """Collects answers between the end of the warm-up and the end of the measurement."""

    def __init__(self, warm_up_seconds: float, seconds: float) -> None:
        self._begin = time.perf_counter() + warm_up_seconds
        self._end = self._begin + seconds
        self._latencies: list[float] = []
        self._errors = 0
        self._faults: dict[str, int] = {}
        self._cpu_before: float | None = None
        self._cpu = 0.0

    def note(self, started: float, fault: str | None) -> bool:
        """Note the answer to a call that started then (`perf_counter`); True while more calls are wanted."""
        now = time.perf_counter()
        if now < self._begin:
            return True
        if self._cpu_before is None:
            self._cpu_before = _own_cpu()
        if now > self._end:
            self._cpu = self._cpu or _own_cpu() - self._cpu_before
            return False
        if fault is None:
            self._latencies.append(now - started)
        else:
            self._errors += 1
            self._faults[fault] = self._faults.get(fault, 0) + 1
        return True

    def report(self) -> None:
        """Print the measurement as one line of JSON."""
        ordered = sorted(self._latencies)
        measured = Measured(
            calls=len(ordered),
            errors=self._errors,
            seconds=self._end - self._begin,
            p50_ms=percentile(ordered, 0.5) * 1000,
            p99_ms=percentile(ordered, 0.99) * 1000,
            generator_cpu=self._cpu,
            faults=self._faults,
        )
        print(json.dumps(asdict(measured)))


def read_task() -> dict[str, Any]:
    """The task that the comparing process wrote to our standard input."""
    task: dict[str, Any] = json.load(sys.stdin)
    return task


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
