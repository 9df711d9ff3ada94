"""Events reach an endpoint: signed, in order for each aggregate, again until they arrive, and never lost."""

import asyncio
from datetime import timedelta

import pytest

from offerhub.runtime.database import Tx
from offerhub.webhook_endpoints import jobs, redelivery
from offerhub.webhook_endpoints.model import RedeliverWebhooks, UpdateWebhookEndpoint
from offerhub.webhook_endpoints.schedule import ATTEMPTS_MAX, DELAYS_SECONDS
from support.payloads import faults
from support.receiver import Receiver, Say
from webhook_endpoints.conftest import ACTOR, Post

ONE, TWO, THREE = (f"ord_{digit * 32}" for digit in "123")


async def test_an_event_arrives_signed_and_as_it_is_everywhere(post: Post, receiver: Receiver) -> None:
    endpoint, secret = await post.endpoint(receiver, "order.*")
    await post.happen(ONE, "order.created", title="Straße ✓")
    await post.happen(ONE, "user.created")
    await post.deliver()
    (got,) = receiver.got
    assert got.is_signed_by(secret)
    assert not got.is_signed_by("whsec_" + "A" * 32)
    assert got.event["eventType"] == "order.created"
    assert got.event["payload"] == {"orderId": ONE, "title": "Straße ✓"}
    assert got.id == got.event["eventId"]
    assert got.headers["content-type"] == "application/json"
    assert await post.statuses(endpoint.id) == ["DELIVERED"]
    log = (await post.rows("SELECT * FROM webhook_attempts"))[0]
    assert (log["outcome"], log["response_status"], log["number"]) == ("DELIVERED", 200, 1)
    assert log["request_headers"]["webhook-signature"] == got.headers["webhook-signature"]


async def test_events_of_an_aggregate_never_overtake_each_other(post: Post, receiver: Receiver) -> None:
    """The second waits while the first fails; another aggregate does not."""
    endpoint, _ = await post.endpoint(receiver)
    receiver.failing = {ONE}
    await post.happen(ONE, "order.created", "order.funds_reserved", "order.closed")
    await post.happen(TWO, "order.created", "order.closed")
    await post.deliver()
    seen = [(got.event["aggregateId"], got.event["eventType"]) for got in receiver.got]
    assert [kind for order, kind in seen if order == ONE] == ["order.created"]
    assert [kind for order, kind in seen if order == TWO] == ["order.created", "order.closed"]
    assert await post.statuses(endpoint.id) == ["PENDING"] * 3 + ["DELIVERED"] * 2

    receiver.failing = set()
    receiver.got.clear()
    await post.deliver()
    assert receiver.got == []  # not before its time
    post.ahead += timedelta(seconds=7)
    await post.happen(ONE, "order.canceled")
    await post.deliver()
    kinds = [got.event["eventType"] for got in receiver.got]
    assert kinds == ["order.created", "order.funds_reserved", "order.closed", "order.canceled"]


async def test_retries_follow_the_schedule_for_three_days_and_then_end(post: Post, receiver: Receiver) -> None:
    endpoint, secret = await post.endpoint(receiver, "order.*")
    receiver.default = Say(503)
    await post.happen(ONE, "order.created", "order.closed")
    assert sum(DELAYS_SECONDS) > 3 * 24 * 3600
    for attempt in range(1, ATTEMPTS_MAX + 1):
        await post.deliver()
        assert len(receiver.got) == attempt
        if attempt == ATTEMPTS_MAX:
            break
        delay = DELAYS_SECONDS[attempt - 1]
        due = await post.value(
            "SELECT extract(epoch FROM due_at - (clock_timestamp() + $1))::float8 FROM webhook_deliveries "
            "WHERE due_at IS NOT NULL",
            post.ahead,
        )
        assert delay * 0.8 - 2 < due <= delay * 1.2
        post.ahead += timedelta(seconds=delay * 0.8 - 2)
        await post.deliver()
        assert len(receiver.got) == attempt  # never before
        post.ahead += timedelta(seconds=delay * 0.4 + 3)
    assert len({got.id for got in receiver.got}) == 1
    moments = [int(got.headers["webhook-timestamp"]) for got in receiver.got]
    assert moments == sorted(set(moments))  # each signed at its own time
    # Three days of failures: given up, and the endpoint is disabled with notice.
    assert (await post.statuses(endpoint.id))[0] == "FAILED"
    assert await post.value("SELECT disabled_reason FROM webhook_endpoints") == "failing"
    told = await post.rows("SELECT type, payload FROM events WHERE aggregate_id = $1 ORDER BY sequence", endpoint.id)
    assert [row["type"] for row in told] == ["webhook.endpoint.failing", "webhook.endpoint.disabled"]
    assert told[1]["payload"]["reason"] == "failing"
    assert [fault for row in told for fault in faults(row["type"], "WebhookEndpoint", row["payload"], None)] == []
    audited = await post.value("SELECT count(*) FROM audit_entries WHERE action = 'webhook.endpoint.disabled'")
    assert audited == 1
    # What waited behind it ends, and nothing more is sent.
    await post.database.run(jobs.cancel_stopped)
    assert await post.statuses(endpoint.id) == ["FAILED", "CANCELED"]
    assert secret not in str(await post.rows("SELECT * FROM audit_entries"))


async def test_retry_after_is_honoured_and_bounded(post: Post, receiver: Receiver) -> None:
    await post.endpoint(receiver)
    receiver.says = [Say(429, {"retry-after": "1800"})]
    await post.happen(ONE, "order.created")
    await post.deliver()
    post.ahead += timedelta(seconds=1700)
    await post.happen(TWO, "order.created")  # the endpoint as a whole is left alone
    await post.deliver()
    assert len(receiver.got) == 1
    post.ahead += timedelta(seconds=130)
    await post.deliver()
    assert {got.event["aggregateId"] for got in receiver.got[1:]} == {ONE, TWO}
    receiver.says = [Say(503, {"retry-after": "99999999999"})]
    await post.happen(THREE, "order.created")
    await post.deliver()
    waits = await post.value("SELECT due_at - clock_timestamp() FROM webhook_deliveries WHERE due_at IS NOT NULL")
    assert waits <= post.ahead + timedelta(hours=24)


async def test_410_disables_at_once_and_enabling_begins_anew(post: Post, receiver: Receiver) -> None:
    endpoint, _ = await post.endpoint(receiver, "order.*")
    receiver.says = [Say(410)]
    await post.happen(ONE, "order.created", "order.closed")
    await post.deliver()
    assert len(receiver.got) == 1
    assert await post.value("SELECT disabled_reason FROM webhook_endpoints") == "gone"
    await post.happen(TWO, "order.created")  # happens while it is disabled: not queued
    await post.deliver()
    assert await post.statuses(endpoint.id) == ["FAILED", "PENDING"]

    async def enable(tx: Tx) -> None:
        await post.out.endpoints.update(tx, ACTOR, endpoint.id, UpdateWebhookEndpoint(enabled=True))

    await post.database.run(enable)
    assert await post.statuses(endpoint.id) == ["FAILED", "CANCELED"]
    await post.happen(THREE, "order.created")
    await post.deliver()
    assert [got.event["aggregateId"] for got in receiver.got[1:]] == [THREE]

    wanted = RedeliverWebhooks(since=endpoint.created_at)
    answer = await post.database.run(lambda tx: redelivery.redeliver_range(tx, ACTOR, endpoint.id, wanted))
    assert (answer.queued, answer.nextCursor) == (3, None)
    await post.deliver()
    again = [(got.event["aggregateId"], got.event["eventType"]) for got in receiver.got[2:]]
    assert [kind for order, kind in again if order == ONE] == ["order.created", "order.closed"]
    assert (TWO, "order.created") in again
    assert (THREE, "order.created") not in again


async def test_a_redirect_is_a_failure_and_is_not_followed(post: Post, receiver: Receiver) -> None:
    await post.endpoint(receiver)
    receiver.says = [Say(301, {"location": "http://169.254.169.254/latest/meta-data/"})]
    await post.happen(ONE, "order.created")
    await post.deliver()
    row = (await post.rows("SELECT outcome, response_status, response_headers FROM webhook_attempts"))[0]
    assert (row["outcome"], row["response_status"]) == ("FAILED", 301)
    assert len(receiver.got) == 1


async def test_slow_and_huge_answers_are_bounded(post: Post, receiver: Receiver) -> None:
    """A byte each tenth of a second ends at the time-out; of a huge answer the beginning is kept."""
    out = post.another(timeout_seconds=0.5)
    await post.endpoint(receiver)
    receiver.says = [Say(drip=100)]
    await post.happen(ONE, "order.created")
    await post.deliver(out)
    receiver.says = [Say(hang=True)]
    await post.happen(TWO, "order.created")
    await post.deliver(out)
    receiver.says = [Say(body=b"x\x00\xff" * 1_000_000)]
    await post.happen(THREE, "order.created")
    await post.deliver(out)
    rows = await post.rows(
        """
        SELECT a.* FROM webhook_attempts a JOIN webhook_deliveries d ON d.id = delivery_id ORDER BY d.aggregate_id
        """
    )
    assert [row["outcome"] for row in rows] == ["FAILED", "FAILED", "DELIVERED"]
    assert [row["error"] for row in rows] == ["no complete answer in time"] * 2 + [None]
    assert rows[2]["is_cut"]
    assert len(rows[2]["response_body"]) <= 4096
    assert rows[2]["response_body"].startswith("x\ufffd\ufffdx")


async def test_a_sender_that_dies_leaves_nothing_behind_but_a_repetition(post: Post, receiver: Receiver) -> None:
    """Cut off after the request was made and before its outcome was written: sent again under the same id."""
    endpoint, _ = await post.endpoint(receiver)
    receiver.says = [Say(hang=True)]
    await post.happen(ONE, "order.created", "order.closed")
    (work,) = await post.dispatch()
    dying = asyncio.create_task(post.out.sender.send({"endpointId": work}))
    await receiver.until(1)
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    await post.deliver(post.another())
    assert [got.event["eventType"] for got in receiver.got] == ["order.created", "order.created", "order.closed"]
    assert receiver.got[0].id == receiver.got[1].id
    outcomes = await post.rows(
        "SELECT outcome FROM webhook_attempts JOIN webhook_deliveries ON id = delivery_id ORDER BY sequence, number"
    )
    assert [row["outcome"] for row in outcomes] == ["UNKNOWN", "DELIVERED", "DELIVERED"]
    assert await post.statuses(endpoint.id) == ["DELIVERED"] * 2


async def test_two_workers_share_an_endpoint_one_after_the_other(post: Post, receiver: Receiver) -> None:
    endpoint, _ = await post.endpoint(receiver)
    for number in range(30):
        await post.happen(f"ord_{number:032}", "order.created", "order.closed")
    await post.dispatch()
    others = [post.another() for _ in range(3)]
    await asyncio.gather(*(out.sender.send({"endpointId": endpoint.id}) for out in (post.out, *others)))
    assert len(receiver.got) == 60
    assert len({got.id for got in receiver.got}) == 60
    assert set(await post.statuses(endpoint.id)) == {"DELIVERED"}


async def test_events_from_before_an_endpoint_are_not_sent_by_themselves(post: Post, receiver: Receiver) -> None:
    await post.happen(ONE, "order.created")
    endpoint, _ = await post.endpoint(receiver)
    await post.happen(ONE, "order.closed")
    await post.deliver()
    assert [got.event["eventType"] for got in receiver.got] == ["order.closed"]
    # But they can be asked for.
    wanted = RedeliverWebhooks(since=endpoint.created_at - timedelta(minutes=1), only="all")
    await post.database.run(lambda tx: redelivery.redeliver_range(tx, ACTOR, endpoint.id, wanted))
    await post.deliver()
    assert [got.event["eventType"] for got in receiver.got[1:]] == ["order.created", "order.closed"]
