"""What describes an event, and the fields that many payloads have."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from msgspec import Meta

from offerhub.events.journal import AggregateType
from offerhub.runtime.routes import Shape

Concerned = Literal["the user", "the buyer", "the seller", "who opened it", "the key's user", "nobody"]
"""Whose event it is: `metadata.userId`. It is what the filter `userId` and keys of one user go by."""


class Payload(Shape, forbid_unknown_fields=True):
    """Base of payloads: what is written, field by field and no more. Amounts are wire text."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One event of the catalogue: name, type of its resource, what it tells, when it is written, whose it is."""

    name: str
    aggregate: AggregateType
    payload: type[Payload]
    when: str
    concerns: Concerned


_EITHER: Final = "A user's id, or that of an API key that is bound to none; `master`, or `system:` and a part of it."

RequestedBy = Annotated[
    str,
    Meta(description=f"Who asked. {_EITHER}", examples=["key_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"]),
]
Credential = Annotated[
    str,
    Meta(
        description="Who did it: the id of an API key, `master`, or `system:` and a part of the service.",
        examples=["key_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"],
    ),
]
ForPeople = Annotated[str, Meta(description="Why, for people.", examples=["The work was not delivered"])]
MilestoneRef = Annotated[str, Meta(description="Your own reference of the milestone.", examples=["design"])]
MilestoneTitle = Annotated[str, Meta(description="The milestone's title.", examples=["First draft"])]
