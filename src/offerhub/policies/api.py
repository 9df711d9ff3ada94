"""The routes of policies, for a marketplace's own support."""

from typing import Any

from offerhub.policies import service
from offerhub.policies.model import PoliciesAnswer, PoliciesBody
from offerhub.policies.service import Moment
from offerhub.runtime.routes import Call, Envelope, Route


def routes(now: Moment) -> tuple[Route, ...]:
    """Read and set the policies of the caller's marketplace."""
    support: dict[str, Any] = {
        "scope": "support",
        "domain": "policies",
        "envelope": Envelope.DATA,
        "answer": PoliciesAnswer,
    }

    async def put(call: Call) -> PoliciesAnswer:
        return await service.replace(call.tx, call.actor, call.body, now)

    return (
        Route("GET", "/policies", "policies.get", "Read the marketplace's policies.",
              _get, **support, unit="read"),
        Route("PUT", "/policies", "policies.put", "Set the marketplace's policies.",
              put, **support, body=PoliciesBody,
              description="All of them: what is left out is off. A policy that changes applies from now on, and what "
              "is in its state already has the whole span from now."),
    )  # fmt: skip


async def _get(call: Call) -> PoliciesAnswer:
    return await service.read(call.tx, call.actor)
