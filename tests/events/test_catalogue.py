"""The catalogue has every event that the source names, and its payload types refuse what nobody declared."""

import ast
import re
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

import offerhub
from offerhub.edge.openapi_states import MACHINES
from offerhub.events.catalogue import balance_credited
from offerhub.events.names import NAMES, chosen_by, matching
from offerhub.events.payloads import KINDS, Kind
from offerhub.ledger.ledger import Around
from reference_pages.events import PAYLOADS, example
from support.payloads import KIND, faults

SOURCES: Final = [
    file
    for file in Path(offerhub.__file__).parent.rglob("*.py")
    if "sandbox" not in file.parts and "payloads" not in file.parts
]
USER: Final = "usr_" + "0" * 32
EACH: Final = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def written() -> set[tuple[str, str]]:
    """The names, or how they begin, of the events that the source makes, and to what they belong, if said there."""
    calls = [
        call
        for file in SOURCES
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and len(call.args) > 3
        and (getattr(call.func, "id", None) == "Event" or getattr(call.func, "attr", None) == "Event")
    ]
    return {
        (text.value, belongs.value if isinstance(belongs := call.args[1], ast.Constant) else "")
        for call in calls
        for text in ast.walk(call.args[0])
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
    }


def test_every_event_that_the_source_writes_is_in_the_catalogue() -> None:
    found = written()
    assert len(found) > 30
    for name, aggregate in found:
        kinds = [KIND[one] for one in (chosen_by(name + "*") if name.endswith(".") else {name})]
        assert kinds, name
        assert {kind.aggregate for kind in kinds} >= ({aggregate} if aggregate else set()), name


def test_every_event_of_a_state_is_in_the_catalogue() -> None:
    told = {event for one in MACHINES for state in one.told.values() for event in state.events}
    assert told - set(NAMES) == set()


def test_names_are_unique_and_all_can_be_asked_for() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert matching(["*"]) == set(NAMES)
    # Money came back: whoever listens to withdrawals, or to everything, has to hear of it.
    assert "withdrawal.reversed" in matching(["withdrawal.*"])
    assert all(re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name) for name in NAMES)


def of_examples(kind: Kind) -> dict[str, Any]:
    return {name: example(field) for name, field in PAYLOADS[kind.name]["properties"].items()}


def concerned(kind: Kind, payload: dict[str, Any]) -> str | None:
    """Whom an event of the examples concerns."""
    field = {"the user": "userId", "the key's user": "userId", "the buyer": "buyerId", "the seller": "sellerId"}
    return None if kind.concerns == "nobody" else payload.get(field.get(kind.concerns, ""))


@EACH
def test_the_examples_of_a_payload_are_of_its_type(kind: Kind) -> None:
    payload = of_examples(kind)
    assert faults(kind.name, kind.aggregate, payload, concerned(kind, payload)) == []
    msgspec.convert(payload, kind.payload)


@EACH
def test_a_payload_with_a_field_too_many_or_too_few_is_refused(kind: Kind) -> None:
    payload = of_examples(kind)
    user_id = concerned(kind, payload)
    assert faults(kind.name, kind.aggregate, payload | {"more": 1}, user_id)
    for name in PAYLOADS[kind.name]["required"]:
        less = {one: value for one, value in payload.items() if one != name}
        assert faults(kind.name, kind.aggregate, less, user_id), name


def test_an_event_that_is_not_as_the_catalogue_says_is_refused() -> None:
    event = balance_credited(USER, 250_000_000, "other", None, Around(0, 250_000_000))
    assert faults(event.type, event.aggregate_type, event.payload, event.user_id) == []
    assert faults("balance.updated", "Balance", event.payload, USER) == [
        "balance.updated: it is not in the catalogue"
    ]
    assert faults(event.type, "User", event.payload, USER) == ["balance.credited: it belongs to User"]
    assert faults(event.type, "Balance", event.payload, None) == ["balance.credited: it concerns None"]
    for wrong in ({"amount": "25"}, {"amount": 25.0}, {"source": "gift"}, {"userId": None}):
        assert faults(event.type, "Balance", {**event.payload, **wrong}, USER), wrong
