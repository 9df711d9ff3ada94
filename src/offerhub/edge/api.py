"""The edge's own route: what became of an idempotency key.

A client that lost an answer may ask here before it decides what to do. It is told how the request ended, never the
answer itself: that is what repeating the request is for.
"""

from typing import Annotated, Literal

from msgspec import Meta

from offerhub.edge import idempotency
from offerhub.errors import NotFound
from offerhub.kernel.clock import to_wire
from offerhub.runtime.routes import Call, Envelope, Route, Shape
from offerhub.runtime.vocabulary import Timestamp


class IdempotencyKeyAnswer(Shape):
    """What became of a request with an idempotency key."""

    key: Annotated[str, Meta(examples=["order-4711-reserve"])]
    status: Annotated[
        Literal["IN_PROGRESS", "COMPLETED"],
        Meta(description="`IN_PROGRESS`: what the request started goes on; repeat it to be told how far it has got."),
    ]
    method: Annotated[str, Meta(examples=["POST"])]
    path: Annotated[str, Meta(description="Without the base path.", examples=["/orders"])]
    responseStatus: Annotated[int | None, Meta(description="The status of the stored answer.", examples=[201])]
    createdAt: Timestamp
    completedAt: Timestamp | None
    expiresAt: Annotated[Timestamp, Meta(description="When the key is forgotten.")]


def routes() -> tuple[Route, ...]:
    """The route."""
    return (
        Route("GET", "/idempotency/{key}", "idempotency.look_up", "Say what became of an idempotency key.",
              _look_up, scope="any", domain="idempotency", envelope=Envelope.DATA, unit="read", errors=(NotFound,),
              answer=IdempotencyKeyAnswer),
    )  # fmt: skip


async def _look_up(call: Call) -> IdempotencyKeyAnswer:
    key = call.path["key"]
    found = await idempotency.look_up(call.tx, call.actor, key)
    if found is None:
        raise NotFound("This credential has no such idempotency key.", idempotency_key=key)
    return IdempotencyKeyAnswer(
        key=key,
        status="IN_PROGRESS" if found.status is None else "COMPLETED",
        method=found.method,
        path=found.path,
        responseStatus=found.status,
        createdAt=to_wire(found.created_at),
        completedAt=None if found.completed_at is None else to_wire(found.completed_at),
        expiresAt=to_wire(found.expires_at),
    )
