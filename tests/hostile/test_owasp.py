"""OWASP's ten risks of APIs (2023): each has its tests, and those that had none have them here.

The table of docs/operating/hostile-edge.md says which; this file holds it to that.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from hostile_site import Site

from support.long_runs import Tally
from support.raw_http import request, spoken
from support.routes import NOWHERE, all_routes, body_for, path_with

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs/operating/hostile-edge.md"
DOCUMENT: Final[dict[str, Any]] = msgspec.json.decode((ROOT / "docs/reference/openapi.json").read_bytes())
FREE: Final = {"metadata", "requestHeaders", "responseHeaders"}
"""Objects that are the client's own, with any names in them."""
SHOWN_ONCE: Final = {
    "webhook_endpoints.create": {"secret"},
    "webhook_endpoints.rotate_secret": {"secret"},
}
SECRET: Final = re.compile(
    r"secret(?!Expires)|password|sealed|cipher|private|seed|signature|encrypted", re.IGNORECASE
)


def test_every_risk_is_in_the_table_with_tests_that_there_are() -> None:
    rows = re.findall(r"^\| (API\d+) .*\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [f"API{number}" for number in range(1, 11)]
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`", PAGE.read_text(encoding="utf-8"))
    assert len(named) >= 20
    for file, test in named:
        functions = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
        names = [one.name for one in functions if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
        assert not test or test in names, (file, test)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def objects(
    schema: dict[str, Any], name: str = "", seen: tuple[str, ...] = ()
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object in a schema, with the name of the property that it is."""
    if schema.get("$ref", "") in seen:
        return
    seen = (*seen, schema["$ref"]) if "$ref" in schema else seen
    schema = resolved(schema)
    for kind in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(kind, []):
            yield from objects(one, name, seen)
    if "items" in schema:
        yield from objects(schema["items"], name, seen)
    if schema.get("type") == "object":
        yield name, schema
        for below, one in schema.get("properties", {}).items():
            yield from objects(one, below, seen)


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            if isinstance(operation, dict) and "operationId" in operation:
                yield operation["operationId"], operation


def test_no_body_takes_more_than_it_declares() -> None:
    """API3: what a client may set is listed; no object takes any property, but the client's own notes."""
    for name, operation in operations():
        for content in operation.get("requestBody", {}).get("content", {}).values():
            for place, schema in objects(content["schema"]):
                assert schema.get("additionalProperties") is False or place in FREE, (name, place)


def test_no_answer_has_a_place_for_secrets() -> None:
    """API3: where a secret is shown once, by design, is a list."""
    found: dict[str, set[str]] = {}
    for name, operation in operations():
        for answer in operation["responses"].values():
            for content in answer.get("content", {}).values():
                for _, schema in objects(content.get("schema", {})):
                    for field in schema.get("properties", {}):
                        if SECRET.search(field):
                            found.setdefault(name, set()).add(field)
    assert found == SHOWN_ONCE


async def test_what_is_not_declared_cannot_be_set(site: Site, tally: Tally) -> None:
    """API3: mass assignment, at every route that takes a body."""
    more = {
        "marketplaceId": "mkt_other",
        "status": "CLOSED",
        "isAdmin": True,
        "balance": "1.00",
        "__proto__": {"a": 1},
    }
    before = await site.shop.counts()
    for route in all_routes():
        if route.body is None or route.scope == "master":
            continue
        declared = route.body.__struct_encode_fields__
        for name, value in more.items():
            if name in declared:
                continue
            heard = await site.shop.send(
                route.method, path_with(route, NOWHERE), {**(body_for(route) or {}), name: value}
            )
            assert (heard.status, heard.code) == (400, "VALIDATION_ERROR"), (route.name, name, heard.body)
            tally("hostile requests")
    assert await site.shop.counts() == before


PROBES: Final = (
    *("/", "/.env", "/.git/config", "/admin", "/debug", "/debug/pprof", "/server-status", "/actuator/health"),
    *("/graphql", "/swagger", "/redoc", "/api", "/api/v1", "/api/v2/users", "/api/v1/api/v1/users", "/v1/users"),
    *(
        "/internal",
        "/console",
        "/phpinfo.php",
        "/wp-login.php",
        "/robots.txt",
        "/static/../.env",
        "//users",
        "/users/",
    ),
)


async def test_nothing_is_served_beside_the_documented_routes(site: Site, tally: Tally) -> None:
    """API8, API9: 404 in our own form, also with a key that may do everything, and no word of what answers."""
    key = f"Authorization: Bearer {site.shop.credential}"
    for path in PROBES:
        for headers in ((), (key,)):
            [said] = await spoken(site.live.url, request("GET", path, "Connection: close", *headers))
            assert (said.status, said.code) == (404, "NOT_FOUND"), (path, said)
            assert said.headers["x-content-type-options"] == "nosniff"
            assert said.headers["cache-control"] == "no-store"
            assert not {"server", "date", "x-powered-by"} & set(said.headers)
            tally("hostile requests")
    for method in ("TRACE", "PUT", "PATCH", "OPTIONS", "PROPFIND"):
        [said] = await spoken(site.live.url, request(method, "/api/v1/users", key, "Connection: close"))
        assert (said.status, said.code) == (405, "METHOD_NOT_ALLOWED"), method
        assert said.headers["allow"]
        tally("hostile requests")
