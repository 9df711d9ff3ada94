"""What goes over the wire: envelopes, errors, headers."""

import asyncio
import re
import uuid

import asyncpg
import pytest
from edge_fixture import Stage, one_page

from asgi_client import Client
from offerhub.errors import InsufficientFunds, ServiceUnavailable
from offerhub.runtime.routes import Envelope, Redirect, Route


def assert_meta(meta: dict[str, str], request_id: str) -> None:
    assert set(meta) == {"requestId", "timestamp"}
    assert meta["requestId"] == request_id
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", meta["timestamp"])


async def test_data(client: Client) -> None:
    heard = await client.get("/data")
    assert heard.status == 200
    assert set(heard.json) == {"data", "meta"}
    assert heard.data == {"id": "thing"}
    assert_meta(heard.json["meta"], heard.headers["x-request-id"])


async def test_success(client: Client) -> None:
    heard = await client.get("/success")
    assert set(heard.json) == {"success", "data", "meta"}
    assert heard.json["success"] is True


async def test_flat(client: Client, stage: Stage) -> None:
    stage.result = {"id": "usr", "available": "1.00"}
    heard = await client.get("/flat")
    assert set(heard.json) == {"id", "available", "data", "meta"}
    assert heard.data == {"id": "usr", "available": "1.00"}
    assert heard.json["available"] == "1.00"


async def test_flat_refuses_an_answer_that_would_hide_its_envelope(client: Client, stage: Stage) -> None:
    stage.result = {"data": 1}
    heard = await client.get("/flat")
    assert (heard.status, heard.code) == (500, "INTERNAL_ERROR")


async def test_a_way_on_is_told_in_a_header(client: Client, stage: Stage) -> None:
    stage.result = Redirect("https://shop.example/paid?from=topup#now")
    heard = await client.get("/open")
    assert (heard.status, heard.body) == (302, b"")
    assert heard.headers["location"] == "https://shop.example/paid?from=topup#now"
    assert heard.headers["content-type"].startswith("text/plain")
    assert heard.headers["cache-control"] == "no-store"


async def test_a_way_on_cannot_break_out_of_its_header(client: Client, stage: Stage) -> None:
    stage.result = Redirect("https://shop.example/\r\nset-cookie: a=b é")
    heard = await client.get("/open")
    assert heard.status == 302
    assert "set-cookie" not in heard.headers
    assert heard.headers["location"] == "https://shop.example/%0D%0Aset-cookie:%20a=b%20%C3%A9"


async def test_list(client: Client, stage: Stage) -> None:
    stage.result = one_page()
    heard = await client.get("/list")
    assert heard.json["success"] is True
    assert heard.data == [{"id": "b"}, {"id": "a"}]
    assert (heard.json["hasMore"], heard.json["nextCursor"]) == (True, "a")
    assert heard.json["pagination"] == {
        "hasMore": True,
        "nextCursor": "a",
        "has_more": True,
        "next_cursor": "a",
    }


async def test_the_last_page_has_no_next_cursor(client: Client, stage: Stage) -> None:
    stage.result = type(one_page())([], None)
    listed, paged = await client.get("/list"), await client.get("/page")
    assert listed.json["hasMore"] is False
    assert "nextCursor" not in listed.json
    assert paged.json["pagination"] == {"hasMore": False, "nextCursor": None}
    assert set(paged.json) == {"data", "pagination", "meta"}


async def test_both_bases_serve_the_same_routes(client: Client) -> None:
    assert (await client.get("/api/v1/data")).data == (await client.get("/data")).data
    for path in ("/api/v1/data/", "/data/", "/api/v1", "/api/v1/api/v1/data", "/"):
        assert (await client.get(path)).status == 404, path


async def test_every_answer_has_the_security_headers(client: Client) -> None:
    for path in ("/data", "/nowhere", "/things/1"):
        headers = (await client.get(path)).headers
        assert headers["content-type"] == "application/json"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-offerhub-version"] == "1.2.3"


@pytest.mark.parametrize("given", ["abc", "x" * 128, "a b~!"])
async def test_a_printable_request_id_is_echoed(client: Client, given: str) -> None:
    heard = await client.get("/things/1", headers=[("x-request-id", given)])
    assert heard.headers["x-request-id"] == given
    assert heard.details["requestId"] == given


KEY = "ohk_live_key_" + "0" * 32 + "_" + "0" * 48


@pytest.mark.parametrize("given", ["", "x" * 129, "caf\xe9", "a\tb", KEY, f"of {KEY}", "S" + "A" * 55])
async def test_any_other_request_id_is_replaced(client: Client, given: str) -> None:
    heard = await client.get("/data", headers=[("x-request-id", given)])
    assert uuid.UUID(heard.headers["x-request-id"]).version == 4


async def test_a_credential_in_the_wrong_place_is_not_repeated(client: Client, stage: Stage) -> None:
    """A refusal may be kept as the answer of its key, and what the client calls itself goes into the audit trail."""
    agent = [("user-agent", f"backend/1 {KEY}")]
    for heard in (await client.get(f"/things/{KEY}"), await client.post("/things", {"name": "x", KEY: KEY})):
        assert heard.status in (400, 404)
        assert KEY.encode() not in heard.body
        assert b"***REDACTED***" in heard.body
    await client.post("/bare", headers=agent)
    assert stage.calls[-1].actor.user_agent == "backend/1 ***REDACTED***"


async def test_a_refusal_says_what_and_why(client: Client) -> None:
    heard = await client.get("/things/ord_1")
    assert (heard.status, heard.code) == (404, "ORDER_NOT_FOUND")
    assert heard.details == {"orderId": "ord_1", "requestId": heard.headers["x-request-id"]}
    assert set(heard.json["error"]) == {"code", "message", "details"}


async def test_unknown_path_and_method(client: Client) -> None:
    nowhere = await client.get("/nowhere")
    assert (nowhere.status, nowhere.code) == (404, "NOT_FOUND")
    wrong = await client.post("/data", {})
    assert (wrong.status, wrong.code) == (405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["allow"] == "GET, HEAD"
    assert (await client.send("OPTIONS", "/things")).status == 405


async def test_head_answers_like_get(client: Client) -> None:
    assert (await client.send("HEAD", "/data")).status == 200


async def test_an_unexpected_error_tells_nothing(client: Client, stage: Stage) -> None:
    stage.raises = RuntimeError("password=hunter2 at /srv/secret")
    heard = await client.get("/data")
    assert (heard.status, heard.code) == (500, "INTERNAL_ERROR")
    assert b"hunter2" not in heard.body
    assert heard.details == {"requestId": heard.headers["x-request-id"]}


@pytest.mark.parametrize("sqlstate", ["OH001", "OH002", "OH003", "OH004"])
async def test_errors_of_our_database_functions_tell_nothing(client: Client, stage: Stage, sqlstate: str) -> None:
    async def raising(call: object) -> None:
        block = f"DO $$ BEGIN RAISE EXCEPTION 'inner words' USING ERRCODE = '{sqlstate}'; END $$"
        await stage.database.run(lambda tx: tx.execute(block))

    route = Route("GET", "/raises", "raises", "", raising, "read", "x", Envelope.DATA, unit="none")
    heard = await Client(stage.application(routes=[route]), client.credential).get("/raises")
    assert (heard.status, heard.code) == (500, "INTERNAL_ERROR")
    assert b"inner words" not in heard.body
    assert sqlstate.encode() not in heard.body


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("10.0.0.1"),
        TimeoutError(),
        asyncpg.ConnectionDoesNotExistError("gone"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.AdminShutdownError("terminating"),
        asyncpg.SerializationError("again and again"),
    ],
)
async def test_a_lost_database_is_unavailable(client: Client, stage: Stage, error: Exception) -> None:
    stage.raises = error
    heard = await client.get("/open")
    assert (heard.status, heard.code) == (503, ServiceUnavailable.code)
    assert heard.headers["retry-after"] == "1"
    assert str(error) == "" or str(error).encode() not in heard.body


async def test_reading_routes_cannot_write(client: Client) -> None:
    assert (await client.get("/reading")).status == 500


async def test_a_refusal_undoes_what_was_done(client: Client, stage: Stage) -> None:
    stage.raises = InsufficientFunds(requested="5.00")
    heard = await client.post("/bare")
    assert (heard.status, heard.details["requested"]) == (422, "5.00")
    assert await stage.effects() == 0
    assert stage.runs == 1


async def test_the_actor_carries_the_request(client: Client, stage: Stage) -> None:
    headers = [("x-request-id", "corr-1"), ("user-agent", "a" * 300)]
    await client.post("/bare", key="k-1", headers=headers)
    actor = stage.calls[0].actor
    assert (actor.correlation_id, actor.idempotency_key, actor.ip) == ("corr-1", "k-1", "192.0.2.1")
    assert actor.user_agent == "a" * 256


async def test_two_routes_of_one_shape_are_refused(stage: Stage) -> None:
    first = Route("GET", "/a/{x}", "one", "", stage.look, "any", "x", Envelope.DATA)
    for path in ("/a/{x}", "/a/{y}"):
        twin = Route("GET", path, "two", "", stage.look, "any", "x", Envelope.DATA)
        with pytest.raises(ValueError, match=r"another route|two routes"):
            stage.application(routes=[first, twin])


async def test_lifespan_reaches_the_application(stage: Stage) -> None:
    seen: list[str] = []

    class Life:
        async def __aenter__(self) -> None:
            seen.append("up")

        async def __aexit__(self, *_: object) -> None:
            seen.append("down")

    app = stage.application(lifespan=lambda _: Life())
    inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    for kind in ("startup", "shutdown"):
        inbox.put_nowait({"type": f"lifespan.{kind}"})
    sent: list[str] = []

    async def send(message: dict[str, str]) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "app": app}, inbox.get, send)  # type: ignore[arg-type]
    assert seen == ["up", "down"]
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
