"""Events as they are in a database, held to the catalogue: no name, field or value that it does not have."""

from collections.abc import Mapping
from typing import Any, Final

import jsonschema_rs
import msgspec

from offerhub.events.payloads import KINDS, Kind
from offerhub.runtime.database import Database

KIND: Final[Mapping[str, Kind]] = {kind.name: kind for kind in KINDS}
TESTS_OWN: Final = "system:test"
"""Who writes events that a test has made up."""

_schemas, _components = msgspec.json.schema_components([kind.payload for kind in KINDS])
_VALIDATORS: Final = {
    kind.name: jsonschema_rs.Draft202012Validator({**schema, "$defs": _components}, validate_formats=True)
    for kind, schema in zip(KINDS, _schemas, strict=True)
}


def faults(name: str, aggregate: str, payload: Mapping[str, Any], user_id: str | None) -> list[str]:
    """What of an event is not as the catalogue says."""
    kind = KIND.get(name)
    if kind is None:
        return [f"{name}: it is not in the catalogue"]
    found = [
        f"{name}{error.instance_path}: {error.message}" for error in _VALIDATORS[name].iter_errors(dict(payload))
    ]
    if aggregate != kind.aggregate:
        found.append(f"{name}: it belongs to {aggregate}")
    if user_id != _concerned(kind, payload, user_id):
        found.append(f"{name}: it concerns {user_id}")
    return found


def _concerned(kind: Kind, payload: Mapping[str, Any], otherwise: str | None) -> str | None:
    """Whom the catalogue names; `otherwise` where the payload does not tell who that is."""
    match kind.concerns:
        case "nobody":
            return None
        case "the user" | "the key's user":
            found: str | None = payload.get("userId")
            return found
        case "the buyer":
            return payload.get("buyerId", otherwise)
        case "the seller":
            return payload.get("sellerId", otherwise)
        case "who opened it":
            return otherwise


async def assert_described(database: Database) -> set[str]:
    """Everything that the product has written is in the catalogue as it is; returns the names that there were."""
    rows = await database.run(
        lambda tx: tx.rows(
            """
            SELECT type, aggregate_type, payload, metadata ->> 'userId' AS user_id FROM events
            WHERE aggregate_id NOT IN (SELECT resource_id FROM audit_entries WHERE actor_id = $1)
            """,
            TESTS_OWN,
        ),
        read_only=True,
    )
    found = {
        fault for row in rows for fault in faults(row["type"], row["aggregate_type"], row["payload"], row["user_id"])
    }
    assert not found, sorted(found)
    return {row["type"] for row in rows}
