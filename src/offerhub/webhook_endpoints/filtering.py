"""Which events go to which endpoint."""

import msgspec

from offerhub.events.model import Logged
from offerhub.webhook_endpoints.lines import Wanted
from offerhub.webhook_endpoints.model import TEST_EVENT, Endpoint


def is_sent_to(endpoint: Endpoint, event: Logged) -> bool:
    """True when the endpoint wants the event. A test goes to the endpoint that is tested only, whatever it wants."""
    if endpoint.marketplace_id != event.marketplace_id:
        return False
    return event.aggregate_id == endpoint.id if event.type == TEST_EVENT else endpoint.wants(event.type)


def wanted_by(endpoint: Endpoint, event: Logged) -> Wanted:
    """The delivery of this event to this endpoint."""
    return Wanted(
        endpoint.id,
        endpoint.marketplace_id,
        event.id,
        event.type,
        event.aggregate_type,
        event.aggregate_id,
        msgspec.json.decode(event.metadata)["sequence"],
    )
