"""The states that a client meets: for each machine a diagram and a table, both from the machine itself."""

from typing import Final

from offerhub.edge.openapi_states import MACHINES
from offerhub.kernel.states import Machine, Told
from reference_pages.markdown import slug, table

BLOCK: Final = "the `states.py` of each slice"
_TITLES: Final = {"topup": "Top-up"}


def render() -> str:
    """The block of the page."""
    return "\n\n".join(_section(one) for one in MACHINES)


def anchor(one: Machine) -> str:
    """Where a machine is described on the page."""
    return slug(_title(one))


def _title(one: Machine) -> str:
    return _TITLES.get(one.name, one.name.capitalize())


def _section(one: Machine) -> str:
    head = ("state", "it means", "moved on by", "event")
    rows = (_row(state, one.told[state]) for state in one.moves)
    return f"## {_title(one)}\n\n{_diagram(one)}\n\n{table(head, rows)}"


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
