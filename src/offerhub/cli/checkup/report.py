"""What an examination found."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

State = Literal["ok", "warning", "failed", "skipped"]
ORDER: Final[tuple[State, ...]] = ("ok", "skipped", "warning", "failed")
"""From the best to the worst."""


@dataclass(frozen=True, slots=True)
class Line:
    """One check. `remedy` is what to do, empty where nothing is to be done."""

    check: str
    state: State
    found: str
    remedy: str = ""


@dataclass(slots=True)
class Report:
    """The checks so far, in their order."""

    lines: list[Line] = field(default_factory=list)

    def ok(self, check: str, found: str) -> None:
        """All is well."""
        self.lines.append(Line(check, "ok", found))

    def skipped(self, check: str, found: str) -> None:
        """It was not looked at, because of something else."""
        self.lines.append(Line(check, "skipped", found))

    def warning(self, check: str, found: str, remedy: str) -> None:
        """The service works, and should not be left so."""
        self.lines.append(Line(check, "warning", found, remedy))

    def failed(self, check: str, found: str, remedy: str) -> None:
        """The service does not work, or is not safe."""
        self.lines.append(Line(check, "failed", found, remedy))

    @property
    def state(self) -> State:
        """That of the worst check; something that was skipped does not count."""
        states: list[State] = [line.state for line in self.lines]
        worst: State = max(states, key=ORDER.index, default="ok")
        return "ok" if worst == "skipped" else worst

    def wire(self) -> dict[str, Any]:
        """The report as JSON."""
        lines = [
            {"check": one.check, "state": one.state, "found": one.found, "remedy": one.remedy or None}
            for one in self.lines
        ]
        return {"state": self.state, "checks": lines}
