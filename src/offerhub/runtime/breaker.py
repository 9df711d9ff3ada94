"""The circuit breaker: a provider that keeps failing is left alone for a while (decision 0028).

    closed ── failures in a row ──▶ open ── its time is over ──▶ half open ── one trial ──▶ closed │ open

Whoever calls enters first and reports in the end what came of it. What is reported about a call that was made
before the last change of state changes nothing: it tells of the past.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal

import structlog

from offerhub.kernel.clock import Clock

BreakerState = Literal["closed", "open", "half_open"]

log: Final = structlog.stdlib.get_logger(__name__)


class Permit:
    """The permission for one call; the first report counts, and none at all means that nothing was learnt."""

    def __init__(self, breaker: "Breaker | None", era: int) -> None:
        self._breaker = breaker
        self._era = era

    def succeeded(self) -> None:
        """The provider answered."""
        breaker, self._breaker = self._breaker, None
        if breaker is not None:
            breaker.note_success(self._era)

    def failed(self) -> None:
        """The provider could not be reached, did not answer, or has trouble of its own."""
        breaker, self._breaker = self._breaker, None
        if breaker is not None:
            breaker.note_failure(self._era)

    def withdrawn(self) -> None:
        """Nothing was learnt: the call was not made, was given up, or the answer tells neither."""
        breaker, self._breaker = self._breaker, None
        if breaker is not None:
            breaker.note_nothing(self._era)


class Breaker:
    """Opens after `failures_max` failures in a row, for `open_seconds`; then one call at a time may try."""

    def __init__(self, name: str, clock: Clock, *, failures_max: int, open_seconds: float) -> None:
        assert failures_max >= 1
        assert open_seconds > 0
        self._name = name
        self._clock = clock
        self._failures_max = failures_max
        self._open_seconds = open_seconds
        self._failures = 0
        self._open_until: float | None = None
        self._is_tried = False
        # Grows with each change of state, so that a late report is recognized.
        self._era = 0
        self._transitions: Counter[BreakerState] = Counter()

    @property
    def state(self) -> BreakerState:
        """The state now. An open breaker becomes half open by itself, with or without anybody calling."""
        if self._open_until is None:
            return "closed"
        return "open" if self._clock.monotonic() < self._open_until else "half_open"

    @property
    def transitions(self) -> Mapping[BreakerState, int]:
        """How often it has opened, let a trial through, and closed again."""
        return dict(self._transitions)

    @property
    def refuses(self) -> bool:
        """True while nobody may enter."""
        state = self.state
        return state == "open" or (state == "half_open" and self._is_tried)

    def enter(self) -> Permit | None:
        """The permission for a call, or None while there is none. In the half-open state it is the trial."""
        if self.refuses:
            return None
        if self._open_until is not None:
            self._is_tried = True
            self._transitions["half_open"] += 1
        return Permit(self, self._era)

    def pass_by(self) -> Permit:
        """A permission that is always given, and whose reports are not counted."""
        return Permit(None, self._era)

    def note_success(self, era: int) -> None:
        """What a permit reports."""
        if era != self._era:
            return
        self._failures = 0
        if self._open_until is not None:
            self._open_until = None
            self._is_tried = False
            self._era += 1
            self._transitions["closed"] += 1
            log.info("breaker_closed", provider=self._name)

    def note_failure(self, era: int) -> None:
        """What a permit reports."""
        if era != self._era:
            return
        self._failures += 1
        if self._open_until is None and self._failures < self._failures_max:
            return
        self._open_until = self._clock.monotonic() + self._open_seconds
        self._is_tried = False
        self._era += 1
        self._transitions["open"] += 1
        log.warning("breaker_opened", provider=self._name, failures=self._failures, seconds=self._open_seconds)

    def note_nothing(self, era: int) -> None:
        """What a permit reports."""
        if era == self._era:
            self._is_tried = False
