"""The product's routes as tests enumerate them: a path with real ids in it, and a body that would be accepted."""

from collections.abc import Mapping
from typing import Any, Final

from offerhub.app import Product
from offerhub.runtime.routes import Route

ACCEPTABLE: Final[Mapping[str, dict[str, Any]]] = {
    "balances.credit": {"amount": "1.00"},
    "balances.debit": {"amount": "1.00"},
    "balances.reserve": {"amount": "1.00", "orderId": "job"},
    "balances.cancel_reservation": {"amount": "1.00", "orderId": "job"},
    "balances.deduct_reserved": {"amount": "1.00", "orderId": "job"},
    "balances.release": {"amount": "1.00", "orderId": "job", "sellerId": "usr_" + "1" * 32},
    "orders.create": {"amount": "1.00", "title": "t", "buyer_id": "usr_" + "1" * 32, "seller_id": "usr_" + "2" * 32},
    "orders.refund": {"reason": "because"},
    "orders.refund_milestone": {"reason": "because"},
    "disputes.open": {"openedBy": "BUYER", "reason": "OTHER"},
    "disputes.assign": {"assignedTo": "agent"},
    "disputes.resolve": {"decision": "FULL_REFUND"},
    "users.create": {"externalUserId": "route-matrix"},
    "users.link_airtm": {"email": "ana@example.com"},
    "withdrawals.create": {
        "userId": "usr_" + "1" * 32,
        "amount": "1.00",
        "destinationType": "crypto",
        "destinationRef": "GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWHF",
    },
    "topups.create": {"userId": "usr_" + "1" * 32, "amount": "1.00"},
    "treasury.transfer": {"userId": "usr_" + "1" * 32, "amount": "1.00", "reference": "route matrix"},
    "treasury.rebalance": {"direction": "INTO_AIRTM", "amount": "1.00", "reference": "route matrix"},
    "findings.acknowledge": {"reason": "route matrix"},
    "findings.resolve": {"reason": "route matrix"},
    "policies.put": {},
    "marketplaces.create": {"name": "route matrix"},
    "webhook_endpoints.create": {"url": "https://hooks.example.com/route-matrix"},
    "webhook_endpoints.redeliver": {"since": "2036-01-01T00:00:00Z", "until": "2036-01-02T00:00:00Z"},
}
"""By the route's name; a route that is not here needs no body."""


NOWHERE: Final[Mapping[str, str]] = {
    "user_id": "usr_" + "0" * 32,
    "order_id": "ord_" + "0" * 32,
    "dispute_id": "dsp_" + "0" * 32,
    "withdrawal_id": "wd_" + "0" * 32,
    "topup_id": "topup_" + "0" * 32,
    "key_id": "key_" + "0" * 32,
    "key": "nowhere",
    "letter_id": "sagas.nowhere",
    "finding_id": "fnd_" + "0" * 32,
    "job": "nothing",
    "endpoint_id": "whe_" + "0" * 32,
    "delivery_id": "whd_" + "0" * 32,
    "ref": "m1",
}
"""For each parameter of a path a value of its form that names nothing."""


def all_routes() -> tuple[Route, ...]:
    """Every declared route. Handlers are bound to nothing: only the declarations are of use."""
    blank: Any = type("Blank", (), {"__getattr__": lambda self, _: self, "__call__": lambda self, *a, **k: self})()
    return Product.routes(blank, {}, blank)


def path_with(route: Route, ids: Mapping[str, str]) -> str:
    """The route's path with these values for its parameters."""
    return route.path.format_map(ids)


def body_for(route: Route) -> dict[str, Any] | None:
    """A body that the route accepts, None when it takes none."""
    return dict(ACCEPTABLE.get(route.name, {})) if route.body is not None else None
