"""Bodies and queries: what is taken, and how every fault is told."""

import json
from typing import Any

import pytest
from edge_fixture import Search, Stage, one_page

from asgi_client import Client, Heard


def fields(heard: Heard) -> dict[str, str]:
    assert (heard.status, heard.code) == (400, "VALIDATION_ERROR")
    assert heard.details["requestId"] == heard.headers["x-request-id"]
    told = {fault["field"]: fault["message"] for fault in heard.details["fields"]}
    assert heard.details["validationErrors"] == [f"{name} {text}".strip() for name, text in told.items()]
    return told


async def test_every_fault_is_named(client: Client, stage: Stage) -> None:
    heard = await client.post("/things", {"count": 0, "items": [{"ref": "a", "amount": 5}], "color": "red"})
    assert set(fields(heard)) == {"name", "count", "items[0].amount", "color"}
    assert fields(heard)["name"] == "is required"
    assert fields(heard)["color"] == "is not a known property"
    assert stage.runs == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"name": "x", "count": "7"}, "count"),
        ({"name": "x", "count": True}, "count"),
        ({"name": "x", "items": [{"ref": "a"}]}, "items[0].amount"),
        ({"name": "x", "items": [{"ref": "a", "amount": "1", "z": 1}]}, "items[0].z"),
        ([], ""),
        (None, "name"),
        ("text", ""),
    ],
)
async def test_one_fault(client: Client, body: Any, field: str) -> None:
    assert list(fields(await client.post("/things", body))) == [field]


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b'{"name": "x"} trailing',
        b"{'name': 'x'}",
        b'{"name": NaN}',
        b'{"name": "x", "count": 1e400}',
        b'{"name": "\xff\xfe"}',
        b'{"name": "\\ud800"}',
        b'{"name": "a\\u0000b"}',
        b'{"name": "a\x00b"}',
        b'{"a\\u0000": 1, "name": "x"}',
        b"[" * 50_000,
        b'{"name": ' + b"[" * 40 + b"]" * 40 + b"}",
    ],
)
async def test_bodies_that_are_not_json_we_can_keep(client: Client, stage: Stage, raw: bytes) -> None:
    assert list(fields(await client.post("/things", raw=raw))) == [""]
    assert stage.runs == 0


async def test_an_escaped_backslash_is_no_nul(client: Client, stage: Stage) -> None:
    assert (await client.post("/things", raw=b'{"name": "a\\\\u0000b"}')).status == 201
    assert stage.calls[0].body.name == "a\\u0000b"


@pytest.mark.parametrize("number", [b"7", b"7.0", b"0.7e1"])
async def test_an_integer_may_be_written_with_a_point(client: Client, stage: Stage, number: bytes) -> None:
    assert (await client.post("/things", raw=b'{"name": "x", "count": ' + number + b"}")).status == 201
    assert stage.calls[0].body.count == 7


@pytest.mark.parametrize("number", [b"7.5", b"1e30", b"1e400", b"-1e400", b'"7"'])
async def test_what_is_no_integer(client: Client, stage: Stage, number: bytes) -> None:
    assert (await client.post("/things", raw=b'{"name": "x", "count": ' + number + b"}")).status == 400
    assert stage.runs == 0


@pytest.mark.parametrize("headers", [[], [("content-type", "application/json")]])
async def test_no_body_is_an_empty_object_where_the_body_is_optional(
    client: Client, headers: list[tuple[str, str]]
) -> None:
    assert (await client.post("/optional", headers=headers)).status == 200


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_other_media_types(client: Client, media_type: str) -> None:
    heard = await client.post("/things", raw=b'{"name":"x"}', headers=[("content-type", media_type)])
    assert (heard.status, heard.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON", "application/x+json"])
async def test_json_media_types(client: Client, media_type: str) -> None:
    heard = await client.post("/things", raw=b'{"name":"x"}', headers=[("content-type", media_type)])
    assert heard.status == 201


async def test_the_body_limit_is_exact(client: Client) -> None:
    filled = json.dumps({"reason": ""}).encode()
    exact = b'{"reason": "' + b"x" * (100_000 - len(filled)) + b'"}'
    assert len(exact) == 100_000
    assert (await client.post("/optional", raw=exact)).status == 200
    heard = await client.post("/optional", raw=exact + b" ")
    assert (heard.status, heard.code, heard.details["limit"]) == (413, "PAYLOAD_TOO_LARGE", 100_000)


async def test_the_body_limit_holds_for_a_body_of_undeclared_length(client: Client) -> None:
    chunked = [("transfer-encoding", "chunked"), ("content-length", "0"), ("content-type", "application/json")]
    heard = await client.post("/optional", raw=b" " * 100_001, headers=chunked)
    assert heard.status == 413


async def test_query_text_becomes_what_is_declared(client: Client, stage: Stage) -> None:
    stage.result = one_page()
    assert (await client.get("/list?limit=7&status=A&status=B&deep=true")).status == 200
    assert stage.calls[0].query == Search(limit=7, status=["A", "B"], deep=True)
    await client.get("/list?limit=&status=A")
    assert stage.calls[1].query == Search(limit=20, status=["A"])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("offset=1", "offset"),
        ("status=a%00b", ""),
        ("limit=%ff", ""),
        # A filter that is null would be no filter at all.
        ("after=null", "after"),
        ("color=null", "color"),
        ("color=null&color=NULL", "color"),
    ],
)
async def test_query_faults(client: Client, query: str, field: str) -> None:
    assert list(fields(await client.get(f"/list?{query}"))) == [field]


async def test_a_nul_in_the_path(client: Client) -> None:
    assert (await client.get("/things/a%00b")).status == 400
