"""What the events tell of states: which may follow which, along the tables of moves.

A machine says which events tell that a state was entered (`told`). Not every state is told, so what is held is that
each event tells a state that the table reaches from the one told before, and that no end is entered untold.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from offerhub.disputes.states import DISPUTE
from offerhub.escrows.states import ESCROW
from offerhub.kernel.states import Machine
from offerhub.orders.states import ORDER
from offerhub.topups.states import TOPUP
from offerhub.withdrawals.states import WITHDRAWAL

HISTORIES: Final[Mapping[str, Machine]] = {
    "Order": ORDER,
    "Escrow": ESCROW,
    "Dispute": DISPUTE,
    "TopUp": TOPUP,
    "Withdrawal": WITHDRAWAL,
}
"""The type of an aggregate, as events name it, to its machine."""


def told_by(aggregate: str) -> dict[str, list[str]]:
    """The events of an aggregate that tell a state, and the states that each may tell, sorted."""
    machine = HISTORIES[aggregate]
    found: dict[str, list[str]] = {}
    for state in sorted(machine.told):
        for event in machine.told[state].events:
            if event.startswith(f"{aggregate.lower()}."):
                found.setdefault(event, []).append(state)
    return found


def reached(machine: Machine, sources: Iterable[str]) -> set[str]:
    """These states and whatever the table reaches from them."""
    found, waiting = set(sources), list(sources)
    while waiting:
        for state in machine.moves[waiting.pop()] - found:
            found.add(state)
            waiting.append(state)
    return found


def event_pairs() -> list[tuple[str, str, str]]:
    """(aggregate type, event, next event) for every two that may follow one another."""
    return [
        (aggregate, before, after)
        for aggregate, machine in HISTORIES.items()
        for before, known in told_by(aggregate).items()
        for after, states in told_by(aggregate).items()
        if reached(machine, known) & set(states)
    ]


def state_pairs() -> list[tuple[str, str, str]]:
    """(aggregate type, last event, state) for every state that may be the present one; an untold beginning is ''."""
    found = []
    for aggregate, machine in HISTORIES.items():
        told = told_by(aggregate)
        silent = not any(machine.initial in states for states in told.values())
        for last, known in {**told, **({"": [machine.initial]} if silent else {})}.items():
            entered = {machine.initial} if last == "" else reached(machine, known) - machine.terminal
            found += [(aggregate, last, state) for state in sorted(entered | set(known))]
    return found


def values(rows: Iterable[tuple[str, str, str]]) -> str:
    """Rows of names as SQL; they come from the tables in the code and hold no quote."""
    return ", ".join("(" + ", ".join(f"'{name}'" for name in row) + ")" for row in rows)
