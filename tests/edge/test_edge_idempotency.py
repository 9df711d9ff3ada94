"""One key, one effect, one answer."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from edge_fixture import Stage

from asgi_client import Client
from offerhub.edge import idempotency
from offerhub.edge.application import build
from offerhub.edge.idempotency import fingerprint
from offerhub.errors import (
    InsufficientFunds,
    InsufficientScope,
    ProviderTimeout,
    ProviderUnavailable,
    Refusal,
    Unauthorized,
)
from offerhub.runtime.database import Row, Tx
from offerhub.runtime.vault import Vault
from support.outside import PATIENCE_SECONDS

THING = {"name": "x", "count": 2}


async def stored(stage: Stage, key: str) -> Row | None:
    async def reading(tx: Tx) -> Row | None:
        return await tx.row("SELECT * FROM idempotent_requests WHERE key = $1", key)

    return await stage.database.run(reading)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def key(stage: Stage) -> str:
    return f"key-{stage.prefix}"


async def test_a_repetition_gets_the_same_bytes(client: Client, stage: Stage, key: str) -> None:
    first = await client.post("/things", THING, key=key)
    again = await client.post("/api/v1/things", {"count": 2, "name": "x"}, key=key)
    assert (first.status, again.status) == (201, 201)
    assert again.body == first.body
    assert again.headers["idempotency-replay"] == "true"
    assert again.headers["x-idempotency-key"] == key
    assert "idempotency-replay" not in first.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert (stage.runs, await stage.effects()) == (1, 1)


async def test_another_request_with_the_key_is_refused(client: Client, stage: Stage, key: str) -> None:
    await client.post("/things", THING, key=key)
    for path, body in (("/things", {"name": "y"}), ("/optional", THING), ("/bare", None)):
        heard = await client.post(path, body if path != "/optional" else {}, key=key)
        assert (heard.status, heard.code) == (409, "IDEMPOTENCY_KEY_REUSED"), path
        assert heard.details["idempotency_key"] == key
    assert await stage.effects() == 1


async def test_the_same_body_elsewhere_is_another_request(client: Client, stage: Stage, key: str) -> None:
    await client.post("/optional", {}, key=key)
    for method, path, body in (("POST", "/started", {}), ("POST", "/bare", None), ("DELETE", "/things/x", None)):
        heard = await client.send(method, path, body, key=key)
        assert (heard.status, heard.code) == (409, "IDEMPOTENCY_KEY_REUSED"), path
    assert (await client.post("/optional", {}, key=key)).headers["idempotency-replay"] == "true"
    assert await stage.effects() == 1


async def test_keys_belong_to_a_credential(client: Client, stage: Stage, key: str) -> None:
    await client.post("/bare", key=key)
    other = Client(client.app, stage.credential("write"))
    heard = await other.post("/bare", key=key)
    assert "idempotency-replay" not in heard.headers
    assert await stage.effects() == 2


async def test_the_master_key_has_keys_in_every_marketplace(stage: Stage, key: str) -> None:
    async def founding(tx: Tx) -> None:
        name = f"market {stage.prefix}"
        await tx.execute("INSERT INTO marketplaces (id, name) VALUES ($1, $2)", other, name)

    other = "mkt_" + stage.prefix.ljust(32, "0")
    await stage.database.run(founding)
    master = Client(stage.application(), stage.credential(kind="master"))
    await master.post("/bare", key=key)
    heard = await master.post("/bare", key=key, headers=[("x-marketplace-id", other)])
    assert "idempotency-replay" not in heard.headers
    assert await stage.effects() == 2


async def test_twenty_at_once_are_one_effect(client: Client, stage: Stage, key: str) -> None:
    stage.proceed.clear()
    requests = [asyncio.create_task(client.post("/things", THING, key=key)) for _ in range(20)]
    await stage.entered.wait()
    # The first holds its transaction open: the others must be told without waiting for it.
    try:
        await until(lambda: sum(request.done() for request in requests) == 19)
    finally:
        stage.proceed.set()
    answers = await asyncio.gather(*requests)
    assert Counter(answer.status for answer in answers) == {201: 1, 409: 19}
    refused = [answer for answer in answers if answer.status == 409]
    assert {answer.code for answer in refused} == {"IDEMPOTENCY_KEY_IN_PROGRESS"}
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert (stage.runs, await stage.effects()) == (1, 1)


async def test_a_refusal_is_stored_without_its_effect(client: Client, stage: Stage, key: str) -> None:
    stage.raises = InsufficientFunds(requested="9.00")
    first = await client.post("/bare", key=key)
    stage.raises = None
    again = await client.post("/bare", key=key)
    assert (first.status, again.status) == (422, 422)
    assert again.body == first.body
    assert again.headers["idempotency-replay"] == "true"
    assert (stage.runs, await stage.effects()) == (1, 0)


@pytest.mark.parametrize(
    "raised",
    [
        ProviderTimeout(),
        ProviderUnavailable(),
        RuntimeError("bug"),
        OSError("down"),
        InsufficientScope(),
        Unauthorized(),
    ],
)
async def test_what_may_pass_releases_the_key(client: Client, stage: Stage, key: str, raised: Exception) -> None:
    stage.raises = raised
    first = await client.post("/bare", key=key)
    assert first.status == (raised.status if isinstance(raised, Refusal) else first.status)
    assert first.status not in (200, 201)
    assert await stored(stage, key) is None
    stage.raises = None
    again = await client.post("/bare", key=key)
    assert again.status == 200
    assert "idempotency-replay" not in again.headers
    assert await stage.effects() == 1


async def test_an_expired_key_is_as_new(client: Client, stage: Stage, key: str) -> None:
    async def expiring(tx: Tx) -> None:
        await tx.execute("UPDATE idempotent_requests SET expires_at = now() - interval '1 s' WHERE key = $1", key)

    await client.post("/things", THING, key=key)
    await stage.database.run(expiring)
    heard = await client.post("/things", {"name": "other"}, key=key)
    assert heard.status == 201
    row = await stored(stage, key)
    assert row is not None
    assert (bytes(row["body"]), row["fingerprint"]) == (
        heard.body,
        fingerprint("POST", "/things", {"name": "other"}),
    )


@pytest.mark.parametrize("bad", ["", "x" * 256, "caf\xe9", "a\tb", "ohk_live_key_" + "0" * 32, "S" + "A" * 55])
async def test_malformed_keys(client: Client, stage: Stage, bad: str) -> None:
    heard = await client.post("/bare", key=bad)
    assert (heard.status, heard.code, heard.details["header"]) == (400, "VALIDATION_ERROR", "Idempotency-Key")
    assert stage.runs == 0


async def test_two_keys_are_refused(client: Client, stage: Stage) -> None:
    heard = await client.post("/bare", key="a", headers=[("idempotency-key", "b")])
    assert heard.status == 400
    assert stage.runs == 0


async def test_reads_take_no_key(client: Client, key: str) -> None:
    heard = await client.get("/data", key=key)
    assert (await client.get("/success", key=key)).status == 200
    assert heard.status == 200


async def test_public_callers_have_no_keys(client: Client, stage: Stage, key: str) -> None:
    nobody = Client(client.app)
    for _ in range(2):
        assert (await nobody.post("/open", key=key)).status == 200
    assert stage.runs == 2
    assert await stored(stage, key) is None


async def test_secrets_are_sealed_while_they_are_kept(client: Client, stage: Stage, key: str) -> None:
    stage.result = {"key": "ohk_live_very_secret"}
    first = await client.post("/secret", key=key)
    row = await stored(stage, key)
    assert row is not None
    assert b"very_secret" not in row["body"]
    again = await client.post("/secret", key=key)
    assert again.body == first.body
    assert b"very_secret" in again.body


async def test_routes_with_secrets_need_a_vault(stage: Stage) -> None:
    with pytest.raises(ValueError, match="secret"):
        build(
            stage.routes(),
            database=stage.database,
            authenticate=stage.authenticate,
            sagas=stage.sagas,
            limiter=None,
            inline_wait_seconds=1,
            version="1",
        )


async def test_a_saga_is_waited_for_and_its_end_is_stored(client: Client, stage: Stage, key: str) -> None:
    def ends(_: str) -> None:
        stage.state = "DONE"

    stage.sagas.during = ends
    first = await client.post("/started", key=key)
    assert (first.status, first.data["state"]) == (202, "DONE")
    assert stage.sagas.waits == [(f"sga_{stage.prefix}_1", 7.5)]
    stage.state = "SOMETHING ELSE"
    again = await client.post("/started", key=key)
    assert again.body == first.body
    assert (stage.runs, len(stage.sagas.waits)) == (1, 1)


async def test_a_saga_that_does_not_end_answers_the_state_reached_each_time(
    client: Client, stage: Stage, key: str
) -> None:
    stage.sagas.running = True
    assert (await client.post("/started", key=key)).data["state"] == "RUNNING"
    stage.sagas.running, stage.state = False, "DONE"
    ended = await client.post("/started", key=key)
    assert ended.data["state"] == "DONE"
    assert (await client.post("/started", key=key)).body == ended.body
    assert stage.runs == 1


async def test_a_saga_without_a_key(client: Client, stage: Stage) -> None:
    stage.state = "DONE"
    heard = await client.post("/started")
    assert (heard.status, heard.data["state"]) == (202, "DONE")


async def test_a_refused_saga_is_a_stored_refusal(client: Client, stage: Stage, key: str) -> None:
    stage.sagas.refusals[f"sga_{stage.prefix}_1"] = InsufficientFunds(requested="1.00")
    first = await client.post("/started", key=key)
    again = await client.post("/started", key=key)
    assert (first.status, first.code) == (422, "INSUFFICIENT_FUNDS")
    assert again.body == first.body
    assert stage.runs == 1


async def test_a_saga_refused_by_a_provider_releases_the_key(client: Client, stage: Stage, key: str) -> None:
    stage.sagas.refusals[f"sga_{stage.prefix}_1"] = ProviderTimeout()
    first = await client.post("/started", key=key)
    assert first.status == 504
    again = await client.post("/started", key=key)
    assert (again.status, stage.runs) == (202, 2)


async def test_after_a_crash_the_saga_is_resumed_and_not_started_anew(client: Client, stage: Stage, key: str) -> None:
    stage.sagas.crash = True
    assert (await client.post("/started", key=key)).status == 500
    row = await stored(stage, key)
    assert row is not None
    assert (row["saga_id"], row["status"]) == (f"sga_{stage.prefix}_1", None)
    stage.sagas.crash = False
    stage.state = "DONE"
    resumed = await client.post("/started", key=key)
    assert (resumed.status, resumed.data["state"]) == (202, "DONE")
    assert resumed.headers["idempotency-replay"] == "true"
    again = await client.post("/started", key=key)
    assert again.body == resumed.body
    assert (stage.runs, await stage.effects()) == (1, 1)


async def test_everybody_who_waits_for_a_saga_gets_the_same_answer(client: Client, stage: Stage, key: str) -> None:
    released = asyncio.Event()
    stage.sagas.during = lambda _: released.wait()
    requests = []
    for waiting in range(1, 7):
        requests.append(asyncio.create_task(client.post("/started", key=key)))
        await until(lambda expected=waiting: len(stage.sagas.waits) == expected)
    released.set()
    answers = await asyncio.gather(*requests)
    assert len({answer.body for answer in answers}) == 1
    assert {answer.status for answer in answers} == {202}
    assert (stage.runs, await stage.effects()) == (1, 1)


async def test_a_late_waiter_leaves_a_key_alone_that_was_claimed_anew(client: Client, stage: Stage, key: str) -> None:
    """Two wait for a saga that a provider refuses; the first frees the key and a retry claims it meanwhile."""
    gates = [asyncio.Event(), asyncio.Event()]
    seen = iter(gates)

    async def in_turn(saga_id: str) -> None:
        if saga_id.endswith("_1"):
            await next(seen).wait()

    stage.sagas.during = in_turn
    stage.sagas.refusals[f"sga_{stage.prefix}_1"] = ProviderTimeout()
    first = asyncio.create_task(client.post("/started", key=key))
    await until(lambda: len(stage.sagas.waits) == 1)
    second = asyncio.create_task(client.post("/started", key=key))
    await until(lambda: len(stage.sagas.waits) == 2)
    gates[0].set()
    assert (await first).status == 504
    retried = await client.post("/started", key=key)
    assert retried.status == 202
    gates[1].set()
    assert (await second).status == 504
    row = await stored(stage, key)
    assert row is not None
    assert bytes(row["body"]) == retried.body
    assert stage.runs == 2


async def test_a_route_that_defers_must_be_able_to_resume(stage: Stage) -> None:
    routes = [replace(route, resume=None) for route in stage.routes()]
    client = Client(stage.application(routes=routes), stage.credential("write"))
    assert (await client.post("/started")).status == 500
    assert await stage.effects() == 0


def test_the_fingerprint_ignores_the_order_of_keys_only() -> None:
    base = fingerprint("POST", "/a", {"x": 1, "y": [1, 2]})
    assert fingerprint("POST", "/a", {"y": [1, 2], "x": 1}) == base
    others = [("PUT", "/a", {"x": 1, "y": [1, 2]}), ("POST", "/b", {"x": 1, "y": [1, 2]})]
    others += [("POST", "/a", {"x": 1, "y": [2, 1]}), ("POST", "/a", {"x": "1", "y": [1, 2]}), ("POST", "/a", {})]
    assert base not in {fingerprint(*other) for other in others}


async def test_only_answers_whose_time_is_over_are_purged(client: Client, stage: Stage, key: str) -> None:
    old, young = key, f"{key}-young"
    for one in (old, young):
        await client.post("/started", key=one)
    database = stage.database
    await database.run(lambda tx: tx.execute("UPDATE idempotent_requests SET expires_at = now() WHERE key = $1", old))
    assert await database.run(idempotency.purge) >= 1
    rows = await database.run(
        lambda tx: tx.rows("SELECT key FROM idempotent_requests WHERE key = ANY($1)", [old, young])
    )
    assert [row["key"] for row in rows] == [young]


async def reseal(stage: Stage, vault: Vault) -> int:
    """Seal all kept answers anew, as `offerhub wallets rotate` does; returns how many were."""
    after, total = ("", ""), 0
    while True:
        batch = await stage.database.run(partial(idempotency.reseal, vault=vault, after=after))
        if batch is None:
            return total
        after, total = batch.last, total + batch.resealed


async def test_a_kept_secret_outlives_its_key_once_it_was_sealed_anew(
    client: Client, stage: Stage, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "RESEAL_BATCH", 1)
    old, new = {1: b"k" * 32}, {2: b"n" * 32}
    first = await client.post("/secret", key=key)
    plain = await client.post("/bare", key=f"{key}-plain")
    both = Client(stage.application(vault=Vault(old | new, 2)), client.credential)
    assert (await both.post("/secret", key=key)).body == first.body
    assert await reseal(stage, Vault(old | new, 2)) >= 1
    assert await reseal(stage, Vault(old | new, 2)) == 0, "once is enough"
    after = Client(stage.application(vault=Vault(new, 2)), client.credential)
    assert (await after.post("/secret", key=key)).body == first.body
    assert (await after.post("/bare", key=f"{key}-plain")).body == plain.body
    assert stage.runs == 2


async def test_a_kept_secret_whose_key_is_gone_is_a_clear_refusal(client: Client, stage: Stage, key: str) -> None:
    await client.post("/secret", key=key)
    after = Client(stage.application(vault=Vault({2: b"n" * 32}, 2)), client.credential)
    assert await reseal(stage, Vault({2: b"n" * 32}, 2)) == 0
    heard = await after.post("/secret", key=key)
    assert (heard.status, heard.code) == (410, "IDEMPOTENCY_ANSWER_UNREADABLE")
    assert heard.details["version"] == 1
    assert (stage.runs, await stage.effects()) == (1, 1), "nothing was done again"
