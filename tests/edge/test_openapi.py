"""The API's document: complete, true to the contract's list of endpoints, and valid by the schemas it uses itself."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import msgspec
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31

from offerhub.edge import decoding, documentation, openapi
from offerhub.edge.openapi_schemas import PATH_PARAMETERS, SHARED
from offerhub.errors import InvalidAmount, InvalidSplit, OrderNotFound, ValidationFailed, catalogue
from offerhub.kernel.version import VERSION
from offerhub.orders.model import MilestoneBody
from offerhub.runtime.routes import Body, Document, Envelope, Redirect, Route, Shape
from offerhub.runtime.vocabulary import Amount, OrderId, Timestamp, UserId
from offerhub.users.model import CreateUser
from support.routes import all_routes

CONTRACT: Final = """
GET /health
GET /health/detailed
GET /config
POST /auth/api-keys
GET /auth/api-keys
DELETE /auth/api-keys/{}
POST /auth/api-keys/{}/token
GET /auth/me
GET /me
POST /users
GET /users
GET /users/{}
POST /users/{}/airtm/link
GET /users/{}/balance
POST /users/{}/balance/credit
POST /users/{}/balance/debit
POST /users/{}/balance/reserve
POST /users/{}/balance/release
POST /users/{}/balance/cancel-reservation
POST /users/{}/balance/deduct-reserved
POST /users/{}/balance/sync
GET /users/{}/balance/verify
GET /users/{}/wallet
GET /users/{}/wallet/deposit
GET /users/{}/wallet/transactions
POST /topups
GET /topups
GET /topups/{}
POST /topups/{}/refresh
POST /topups/{}/cancel
GET /topups/{}/callback
POST /orders
GET /orders
GET /orders/{}
POST /orders/{}/reserve
POST /orders/{}/cancel
POST /orders/{}/escrow
POST /orders/{}/escrow/fund
GET /orders/{}/milestones
POST /orders/{}/milestones/{}/complete
POST /orders/{}/resolution/release
POST /orders/{}/resolution/refund
POST /orders/{}/resolution/dispute
GET /disputes
GET /disputes/{}
POST /disputes/{}/assign
POST /disputes/{}/resolve
POST /withdrawals
GET /withdrawals
GET /withdrawals/{}
POST /withdrawals/{}/commit
POST /withdrawals/{}/refresh
POST /withdrawals/{}/cancel
POST /webhooks/trustless-work
POST /webhooks/airtm
GET /audit/logs
POST /admin/maintenance/enable
POST /admin/maintenance/disable
GET /admin/maintenance/status
"""
"""Section 2 of the contract without 2.12 (events); `{}` is an id. Routes of queues are the contract's "may"."""

REPOSITORY: Final = Path(__file__).resolve().parents[2]
COMMON: Final = {"429", "500"}

_PRODUCT: Final = tuple(route for route in all_routes() if route.domain != "documentation")
ROUTES: Final = (*_PRODUCT, *documentation.routes(_PRODUCT, version="1.2.3"))
DOCUMENT: Final = openapi.document(ROUTES, version="1.2.3")


OPERATIONS: Final = [
    (f"{method.upper()} {path}", operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


EACH: Final = pytest.mark.parametrize(
    "operation", [one for _, one in OPERATIONS], ids=[name for name, _ in OPERATIONS]
)


def response(answer: Mapping[str, Any], document: Mapping[str, Any] = DOCUMENT) -> Any:
    ref = answer.get("$ref")
    return answer if ref is None else document["components"]["responses"][ref.rpartition("/")[2]]


def faults(schema: Mapping[str, Any], value: Any, document: Mapping[str, Any] = DOCUMENT) -> list[str]:
    """Why the value is not of the schema; references are into the document."""
    whole = {**schema, "components": document["components"]}
    validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value)]


def test_every_endpoint_of_the_contract_is_served() -> None:
    served = {f"{route.method} {re.sub('{[^}]*}', '{}', route.path)}" for route in ROUTES}
    assert set(CONTRACT.split("\n")) - {""} <= served


def test_every_route_is_described_once() -> None:
    assert sorted(name for name, _ in OPERATIONS) == sorted(f"{one.method} {one.path}" for one in ROUTES)
    ids = [operation["operationId"] for _, operation in OPERATIONS]
    assert sorted(ids) == sorted(route.name for route in ROUTES)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_route_has_a_dotted_name_and_a_declared_answer(route: Route) -> None:
    assert re.fullmatch(r"[a-z_]+\.[a-z_]+", route.name)
    assert route.answer is not None


def test_the_document_is_openapi_3_1() -> None:
    told = json.loads(msgspec.json.encode(DOCUMENT))
    assert [error.message for error in jsonschema_rs.Draft202012Validator(OPENAPI_31).iter_errors(told)] == []
    refs = set(re.findall(r'"\$ref":"#/components/(\w+)/([^"]+)"', msgspec.json.encode(DOCUMENT).decode()))
    assert all(name in told["components"][kind] for kind, name in refs)
    assert len(refs) > 10


@EACH
def test_an_operation_is_complete(operation: Any) -> None:
    route = next(route for route in ROUTES if route.name == operation["operationId"])
    assert operation["summary"]
    assert operation["tags"] == [route.domain]
    assert operation["description"]
    assert operation["x-required-scope"] == route.scope
    assert (operation["security"] == []) == (route.scope == "public")
    assert {one["name"] for one in operation["parameters"] if one.get("in") == "path"} == set(
        re.findall("{([^}]*)}", route.path)
    )
    statuses = set(operation["responses"])
    assert {str(status) for status in (route.status, *route.also)} <= statuses
    assert COMMON | {str(error.status) for error in route.errors} <= statuses
    signed = any(error.status == 401 for error in route.errors)
    assert ("401" in statuses) == (route.scope != "public" or signed)
    assert ("403" in statuses) >= (route.scope not in ("public", "any"))
    assert ("415" in statuses) == (route.body is not None)
    assert ("requestBody" in operation) == (route.body is not None or route.raw)
    codes = {
        code
        for status, answer in operation["responses"].items()
        if int(status) >= 400
        for code in response(answer)["content"]["application/json"]["examples"]
    }
    assert {error.code for error in route.errors} <= codes <= catalogue().keys()


@EACH
def test_examples_are_valid(operation: Any) -> None:
    contents = [answer.get("content", {}) for answer in map(response, operation["responses"].values())]
    body = operation.get("requestBody", {}).get("content", {})
    for content in (*contents, body):
        for kind in content.values():
            values = [kind["example"]] if "example" in kind else []
            values += [one["value"] for one in kind.get("examples", {}).values()]
            assert [fault for value in values for fault in faults(kind["schema"], value)] == []
    parameters = [one["schema"] for one in operation["parameters"] if "schema" in one]
    assert [fault for one in parameters for value in one.get("examples", ()) for fault in faults(one, value)] == []


@EACH
def test_what_is_sent_is_described(operation: Any) -> None:
    """Whoever writes a client finds no property and no parameter without a word about it."""
    asked = [one for one in operation["parameters"] if one.get("in") in ("path", "query")]
    assert [one["name"] for one in asked if not one.get("description")] == []
    for name, schema in bodies_of(operation).items():
        for field, described in schema["properties"].items():
            choices = [described, *described.get("anyOf", ())]
            assert any(one.get("description") for one in choices), f"{name}.{field}"


def bodies_of(operation: Mapping[str, Any]) -> dict[str, Any]:
    """The schemas of an operation's body: its own, and those of objects in it. What is taken as bytes has none."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    waiting = [content["schema"]] if content and "$ref" in content["schema"] else []
    found: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()["$ref"].rpartition("/")[2]
        found[name] = DOCUMENT["components"]["schemas"][name]
        fields = found[name]["properties"].values()
        waiting += [one["items"] for one in fields if "$ref" in one.get("items", {})]
    return found


def test_another_name_of_a_property_is_deprecated() -> None:
    bodies = {name: schema for _, operation in OPERATIONS for name, schema in bodies_of(operation).items()}
    aliases = [
        (name, field, described)
        for name, schema in bodies.items()
        for field, described in schema["properties"].items()
        if re.search("[Aa]nother name|ignored", described.get("description", ""))
    ]
    assert len(aliases) > 20
    assert [(name, field) for name, field, described in aliases if not described.get("deprecated")] == []


@pytest.mark.parametrize("route", [route for route in ROUTES if route.body], ids=lambda route: route.name)
def test_the_example_of_a_body_is_accepted_as_a_body(route: Route) -> None:
    assert route.body is not None
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    shown = operation["requestBody"]["content"]["application/json"]["example"]
    assert isinstance(decoding.to_body(shown, route.body), route.body)


def test_the_file_of_the_reference_is_this_document() -> None:
    written = json.loads((REPOSITORY / "docs" / "reference" / "openapi.json").read_text(encoding="utf-8"))
    expected = openapi.document(all_routes(), version=VERSION)
    assert written == json.loads(msgspec.json.encode(expected)), "run `make docs`"


def test_states_say_what_they_mean() -> None:
    status = DOCUMENT["components"]["schemas"]["OrderAnswer"]["properties"]["status"]
    assert set(status["x-enumDescriptions"]) == set(status["enum"])
    assert status["x-enumDescriptions"]["FUNDS_RESERVED"] == "The buyer's money is set aside."
    party = DOCUMENT["components"]["schemas"]["DisputeAnswer"]["properties"]["openedBy"]
    assert "x-enumDescriptions" not in party


def test_shared_schemas_have_valid_examples() -> None:
    for name, schema in {**DOCUMENT["components"]["schemas"], **SHARED}.items():
        for value in schema.get("examples", ()):
            assert faults(schema, value) == [], name


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (CreateUser, {"externalUserId", "external_user_id", "externalId"}),
        (MilestoneBody, {"milestone_ref", "ref"}),
        (MilestoneBody, {"title", "description"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_one_of_several_names_is_required(body: type[Body], names: set[str]) -> None:
    """The document and the edge agree on it: one must be there, and null is not."""
    schema = DOCUMENT["components"]["schemas"][body.__name__]
    whole = {"milestone_ref": "m", "title": "t"} if body is MilestoneBody else {"externalUserId": "ana"}
    without = {name: value for name, value in whole.items() if name not in names}
    for name in names:
        named = {**without, name: "x"}
        assert faults(schema, named) == []
        assert isinstance(decoding.to_body(named, body), body)
    for missing in (without, {**without, **dict.fromkeys(names)}):
        assert faults(schema, missing) != []
        with pytest.raises(ValidationFailed) as refused:
            decoding.to_body(missing, body)
        assert refused.value.details["fields"] == [
            {"field": next(group[0] for group in body.one_of if set(group) == names), "message": "is required"}
        ]


class Child(Shape):
    parent: "Parent | None"


class Parent(Shape):
    """A thing with an id."""

    id: OrderId
    amount: Amount
    owner: UserId | None
    closedAt: Timestamp | None
    child: Child | None
    note: str | msgspec.UnsetType = msgspec.UNSET


class MakeParent(Body):
    amount: Amount
    ownerId: UserId | None = None
    owner: str | None = None


class FindParents(Body):
    limit: int | None = None
    status: list[str] | None = None
    deep: bool = False


async def _nothing(_: Any) -> None:
    """A handler that is never called."""


BARE: Final = Route(
    "GET", "/orders/{order_id}", "orders.get", "Read", _nothing, "read", "orders", Envelope.SUCCESS,
    answer=Parent, errors=(OrderNotFound,), unit="read",
)  # fmt: skip
MAKE: Final = replace(
    BARE, method="POST", path="/orders", name="orders.create", scope="write", status=201, also=(200,),
    body=MakeParent, unit="write", errors=(InvalidAmount, InvalidSplit), idempotency_seconds=7 * 86_400,
)  # fmt: skip
LIST: Final = replace(BARE, path="/orders", name="orders.list", query=FindParents, envelope=Envelope.LIST, errors=())


def described(*routes: Route) -> Any:
    return openapi.document(routes, version="1")


def success(route: Route, status: str = "200") -> Any:
    document = described(route)
    answer = document["paths"][route.path][route.method.lower()]["responses"][status]
    return document, answer, answer["content"]["application/json"]


@pytest.mark.parametrize(
    ("envelope", "keys"),
    [
        (Envelope.DATA, {"data", "meta"}),
        (Envelope.SUCCESS, {"success", "data", "meta"}),
        (Envelope.FLAT, {"id", "amount", "owner", "closedAt", "child", "note", "data", "meta"}),
        (Envelope.PAGE, {"data", "pagination", "meta"}),
        (Envelope.LIST, {"success", "data", "hasMore", "nextCursor", "pagination", "meta"}),
    ],
)
def test_an_envelope_wraps_the_answer(envelope: Envelope, keys: set[str]) -> None:
    document, _, content = success(replace(BARE, envelope=envelope))
    assert set(content["example"]) == keys
    assert faults(content["schema"], content["example"], document) == []
    del content["example"]["meta"]
    assert faults(content["schema"], content["example"], document) != []


def test_an_example_ends_where_objects_contain_each_other() -> None:
    _, _, content = success(BARE)
    shown = content["example"]["data"]
    assert shown["child"] == {"parent": None}
    assert shown["amount"] == "25.00"
    assert re.fullmatch(r"usr_\w{32}", shown["owner"])


def test_a_body_shows_what_has_an_example_and_refuses_what_is_unknown() -> None:
    document = described(MAKE)
    body = document["paths"]["/orders"]["post"]["requestBody"]
    assert body["required"]
    content = body["content"]["application/json"]
    assert set(content["example"]) == {"amount", "ownerId"}
    assert document["components"]["schemas"]["MakeParent"]["additionalProperties"] is False
    assert "additionalProperties" not in document["components"]["schemas"]["Parent"]
    assert faults(content["schema"], {"amount": "1.00", "other": 1}, document) != []
    assert not described(replace(MAKE, body_optional=True))["paths"]["/orders"]["post"]["requestBody"]["required"]


def test_a_query_is_told_parameter_by_parameter() -> None:
    document = described(LIST)
    parameters = {one["name"]: one for one in document["paths"]["/orders"]["get"]["parameters"] if "name" in one}
    assert parameters["limit"]["schema"] == {"type": "integer"}
    assert parameters["status"]["schema"]["type"] == "array"
    assert parameters["deep"]["schema"] == {"type": "boolean", "default": False}
    assert not any(one["required"] for one in parameters.values())
    assert "FindParents" not in document["components"]["schemas"]


def test_one_code_with_two_statuses_is_told_under_both() -> None:
    responses = described(MAKE)["paths"]["/orders"]["post"]["responses"]
    assert "INVALID_AMOUNT" in responses["400"]["$ref"]
    assert "INVALID_AMOUNT" in responses["422"]["$ref"]


def test_an_idempotency_key_is_taken_only_where_the_edge_takes_it() -> None:
    def taken(route: Route) -> bool:
        operation = described(route)["paths"][route.path][route.method.lower()]
        return {"$ref": "#/components/parameters/IdempotencyKey"} in operation["parameters"]

    assert taken(MAKE)
    assert not taken(BARE)
    assert not taken(replace(MAKE, unit="none"))
    assert not taken(replace(MAKE, idempotency_seconds=0))
    assert not taken(replace(MAKE, scope="public"))


def test_what_is_created_links_to_every_operation_that_takes_its_id() -> None:
    document = described(MAKE, BARE, LIST)
    for status in ("200", "201"):
        links = document["paths"]["/orders"]["post"]["responses"][status]["links"]
        assert links == {
            "orders.get": {"operationId": "orders.get", "parameters": {"path.order_id": "$response.body#/data/id"}}
        }
    assert "links" not in document["paths"]["/orders/{order_id}"]["get"]["responses"]["200"]


CREATED: Final = "$response.body#/data/id"


@pytest.mark.parametrize(
    ("create", "target", "link"),
    [
        ("users.create", "balances.credit", {"parameters": {"path.user_id": CREATED}}),
        ("users.create", "wallets.deposit", {"parameters": {"path.user_id": CREATED}}),
        ("users.create", "orders.create", {"requestBody": {"buyer_id": CREATED}}),
        ("users.create", "topups.create", {"requestBody": {"userId": CREATED}}),
        ("users.create", "withdrawals.create", {"requestBody": {"userId": CREATED}}),
        ("users.create", "withdrawals.list", {"parameters": {"query.userId": CREATED}}),
        ("orders.create", "orders.reserve", {"parameters": {"path.order_id": CREATED}}),
        ("orders.create", "orders.escrow", {"parameters": {"path.order_id": CREATED}}),
        ("orders.create", "orders.fund", {"parameters": {"path.order_id": CREATED}}),
        ("orders.create", "orders.release", {"parameters": {"path.order_id": CREATED}}),
        ("orders.create", "disputes.open", {"parameters": {"path.order_id": CREATED}}),
        ("orders.create", "disputes.list", {"parameters": {"query.orderId": CREATED}}),
        (
            "orders.create",
            "orders.complete_milestone",
            {"parameters": {"path.order_id": CREATED, "path.ref": "$response.body#/data/milestones/0/ref"}},
        ),
        ("disputes.open", "disputes.resolve", {"parameters": {"path.dispute_id": CREATED}}),
        ("withdrawals.create", "withdrawals.commit", {"parameters": {"path.withdrawal_id": CREATED}}),
        ("topups.create", "topups.cancel", {"parameters": {"path.topup_id": CREATED}}),
        ("api_keys.create", "api_keys.revoke", {"parameters": {"path.key_id": CREATED}}),
    ],
)
def test_what_the_product_creates_links_to_what_takes_its_id(
    create: str, target: str, link: Mapping[str, Any]
) -> None:
    operation = next(one for _, one in OPERATIONS if one["operationId"] == create)
    found = operation["responses"]["201"]["links"][target]
    assert {name: value for name, value in found.items() if name != "description"} == {"operationId": target, **link}


def test_a_route_without_an_envelope_has_none() -> None:
    page = replace(BARE, answer=Document, media_type="text/html")
    content = described(page)["paths"][BARE.path]["get"]["responses"]["200"]["content"]
    assert content == {"text/html": {"schema": {"type": "string"}}}


def test_a_way_on_names_where_to_find_it() -> None:
    answer = described(replace(BARE, answer=Redirect, status=302))["paths"][BARE.path]["get"]["responses"]["302"]
    assert "content" not in answer
    assert answer["headers"]["Location"] == {"$ref": "#/components/headers/Location"}


def test_a_route_that_cannot_be_described_is_refused() -> None:
    with pytest.raises(ValueError, match="no description"):
        described(replace(BARE, domain="nowhere"))
    with pytest.raises(ValueError, match="no type"):
        described(replace(BARE, path="/orders/{unknown}"))


def test_examples_of_ids_have_the_format_of_ids() -> None:
    path = msgspec.json.schema(PATH_PARAMETERS["order_id"])
    assert [faults(path, value) for value in path["examples"]] == [[]]
