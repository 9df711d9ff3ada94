"""A state machine is one table: read by code, by the database's guard and by the documentation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Told(NamedTuple):
    """What a state means for whoever calls the API, in Markdown.

    `onward` says who, or which call, moves it on; an end has none. `events` tell that the state was entered.
    """

    meaning: str
    onward: str = ""
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """The states of one aggregate and the moves between them.

    `moves` maps a state to the states that may follow it; a state that maps to nothing is terminal.
    `column` names the database column that the guard trigger watches, such as `orders.status`.
    `told` explains the states of what clients see; machines inside of the product have none.
    """

    name: str
    column: str
    initial: str
    moves: Mapping[str, frozenset[str]]
    told: Mapping[str, Told] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = set(self.moves)
        reached = {state for targets in self.moves.values() for state in targets}
        if self.initial not in named or not reached <= named:
            raise ValueError(f"machine {self.name}: every state must have a row of its own")
        if self.told and set(self.told) != named:
            raise ValueError(f"machine {self.name}: every state must be explained")
        for state, told in self.told.items():
            if bool(told.onward) == (state in self.terminal):
                raise ValueError(f"machine {self.name}: {state} must say how it is left, unless it is an end")

    @property
    def states(self) -> frozenset[str]:
        """Every state."""
        return frozenset(self.moves)

    @property
    def terminal(self) -> frozenset[str]:
        """The states that are never left."""
        return frozenset(state for state, targets in self.moves.items() if not targets)

    def sources_of(self, state: str) -> list[str]:
        """The states from which `state` may be entered, sorted; what an UPDATE's WHERE needs."""
        return sorted(source for source, targets in self.moves.items() if state in targets)

    def allows(self, source: str, target: str) -> bool:
        """True when the table has this move."""
        return target in self.moves.get(source, frozenset())

    def rows(self) -> list[tuple[str, str, str]]:
        """(machine column, from, to) for every move: what the table `state_moves` must hold."""
        return sorted((self.column, source, target) for source, targets in self.moves.items() for target in targets)


def machine(
    name: str, column: str, initial: str, moves: Mapping[str, set[str]], told: Mapping[str, Told] | None = None
) -> Machine:
    """Write a Machine with plain sets."""
    frozen = {state: frozenset(targets) for state, targets in moves.items()}
    return Machine(name, column, initial, frozen, told or {})
