"""The states that a client meets: for each machine a diagram and a table, both from the machine itself."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from offerhub.disputes.states import DISPUTE
from offerhub.escrows.states import ESCROW
from offerhub.kernel.states import Machine, Told
from offerhub.orders.states import MILESTONE, ORDER
from offerhub.topups.states import TOPUP
from offerhub.users.states import USER
from offerhub.wallets.states import WALLET
from offerhub.withdrawals.states import WITHDRAWAL
from reference_pages.markdown import slug, table

BLOCK: Final = "the `states.py` of each slice"


class Section(NamedTuple):
    """A machine under its heading."""

    title: str
    machine: Machine


SECTIONS: Final = (
    Section("User", USER),
    Section("Wallet", WALLET),
    Section("Order", ORDER),
    Section("Milestone", MILESTONE),
    Section("Escrow", ESCROW),
    Section("Dispute", DISPUTE),
    Section("Top-up", TOPUP),
    Section("Withdrawal", WITHDRAWAL),
)

BY_STATES: Final[Mapping[frozenset[str], Section]] = {one.machine.states: one for one in SECTIONS}
"""The section about exactly these states."""


def render() -> str:
    """The block of the page."""
    return "\n\n".join(_section(one) for one in SECTIONS)


def anchor(section: Section) -> str:
    """Where a machine is described on the page."""
    return slug(section.title)


def _section(section: Section) -> str:
    one = section.machine
    head = ("state", "it means", "moved on by", "event")
    rows = (_row(state, one.told[state]) for state in one.moves)
    return f"## {section.title}\n\n{_diagram(one)}\n\n{table(head, rows)}"


def _row(state: str, told: Told) -> tuple[str, ...]:
    events = ", ".join(f"`{event}`" for event in told.events)
    return (f"`{state}`", told.meaning, told.onward or "nothing: an end", events)


def _diagram(one: Machine) -> str:
    lines = [f"    [*] --> {one.initial}"]
    for state, targets in one.moves.items():
        # In the order of the table, so that the lines run downwards.
        lines += [f"    {state} --> {target}" for target in one.moves if target in targets]
        lines += [] if targets else [f"    {state} --> [*]"]
    return "\n".join(("```mermaid", "stateDiagram-v2", *lines, "```"))
