"""The line that each request leaves in the log: whose it was, what it was about, and nothing of another's."""

import structlog
from edge_fixture import Stage
from structlog.testing import capture_logs

from asgi_client import Client

NAMES = ("request_id", "marketplace_id", "thing_id", "path", "status")


async def test_a_line_names_the_request_the_marketplace_and_the_ids_of_its_path(client: Client, stage: Stage) -> None:
    stranger = Client(stage.application())
    with capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        await client.get("/things/thing_1", headers=[("x-request-id", "mine")])
        await client.get("/data", headers=[("x-request-id", "again")])
        await stranger.get("/data", headers=[("x-request-id", "nobody")])
    told = [{name: line[name] for name in NAMES if name in line} for line in logs if line["event"] == "request"]
    marketplace = told[0]["marketplace_id"]
    assert marketplace.startswith("mkt_")
    assert told == [
        {
            "request_id": "mine",
            "marketplace_id": marketplace,
            "thing_id": "thing_1",
            "path": "/things/thing_1",
            "status": 404,
        },
        {"request_id": "again", "marketplace_id": marketplace, "path": "/data", "status": 200},
        {"request_id": "nobody", "path": "/data", "status": 401},
    ]
