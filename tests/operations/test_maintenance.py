"""Maintenance over HTTP: two processes on one database, with the routes of access as what changes something."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from asgi_client import Client, Heard, NoSagas
from offerhub.access import api as access_api
from offerhub.access.authenticator import Credentials
from offerhub.access.tokens import TokenSigner
from offerhub.edge.application import build
from offerhub.kernel.clock import ManualClock
from offerhub.operations import api as operations_api
from offerhub.operations.maintenance import MaintenanceGate
from offerhub.operations.model import Probe, PublicConfig
from offerhub.runtime.database import Database
from offerhub.runtime.vault import Vault

MASTER_KEY = "a-master-key-of-the-maintenance-tests"
CONFIG = PublicConfig(fiat="crypto", sse=False, airtm=False, trustless_work=True)


@dataclass
class Process:
    """One of the processes that share the database, and its clock."""

    app: Any
    clock: ManualClock
    database: Database

    @property
    def master(self) -> Client:
        return Client(self.app, MASTER_KEY)

    async def key(self, *scopes: str, **more: Any) -> Client:
        """A caller with a new key of these scopes."""
        made = await self.change(scopes=list(scopes), **more)
        assert made.status == 201, made.body
        return Client(self.app, made.data["key"])

    async def change(self, **body: Any) -> Heard:
        """Something that changes the database."""
        return await self.master.post("/auth/api-keys", {"name": "k", **body})


async def _process(stack: AsyncExitStack, database: Database) -> Process:
    signer, clock = TokenSigner(b"s" * 32), ManualClock()
    credentials = Credentials(database, master_key=MASTER_KEY, signer=signer, clock=clock)
    stack.push_async_callback(credentials.close)
    probes: dict[str, Probe] = {}
    app = build(
        (
            *access_api.routes(signer, clock),
            *operations_api.routes(version="1", probes=probes, config=CONFIG, clock=clock),
            *operations_api.maintenance_routes(),
        ),
        database=database,
        authenticate=credentials,
        sagas=NoSagas(),
        limiter=None,
        inline_wait_seconds=1,
        version="1",
        vault=Vault({1: b"k" * 32}, 1),
        clock=clock,
        gate=MaintenanceGate(database, clock),
    )
    return Process(app, clock, database)


@pytest.fixture
async def processes(fresh_database_url: str) -> AsyncIterator[tuple[Process, Process]]:
    """Two processes on a database of the test's own: maintenance is for all of it."""
    async with AsyncExitStack() as stack:
        databases = [await Database.connect(fresh_database_url, pool_size=2) for _ in range(2)]
        for database in databases:
            stack.push_async_callback(database.close)
        yield await _process(stack, databases[0]), await _process(stack, databases[1])


async def test_changes_are_refused_everywhere_within_a_second(processes: tuple[Process, Process]) -> None:
    here, there = processes
    assert (await there.change()).status == 201  # and remembers that it may
    enabled = await here.master.post("/admin/maintenance/enable", {"message": "Moving house."})
    assert (enabled.status, enabled.data["enabled"], enabled.data["enabledBy"]) == (200, True, "master")
    there.clock.advance(1)
    refused = await there.change()
    assert (refused.status, refused.code) == (503, "MAINTENANCE_MODE")
    assert refused.details["message"] == "Moving house."
    assert refused.details["enabledAt"] == enabled.data["enabledAt"]
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert refused.json["error"]["message"] == "Moving house."
    revoked = await there.master.send("DELETE", "/auth/api-keys/key_" + "0" * 32)
    assert (revoked.status, revoked.code) == (503, "MAINTENANCE_MODE")

    disabled = await there.master.post("/admin/maintenance/disable")
    assert (disabled.status, disabled.data) == (200, {"enabled": False})
    there.clock.advance(1)
    assert (await there.change()).status == 201


async def test_reading_goes_on(processes: tuple[Process, Process]) -> None:
    here, _ = processes
    await here.master.post("/admin/maintenance/enable")
    assert (await here.change()).status == 503
    for path in ("/auth/api-keys", "/auth/me", "/health", "/health/detailed", "/config", "/api/v1/health"):
        assert (await here.master.get(path)).status == 200, path
    assert (await here.master.send("HEAD", "/auth/me")).status == 200


async def test_a_stranger_learns_nothing_of_it(processes: tuple[Process, Process]) -> None:
    here, _ = processes
    reader = await here.key("read")
    await here.master.post("/admin/maintenance/enable")
    here.clock.advance(1)
    assert (await Client(here.app).post("/auth/api-keys")).status == 401
    assert (await reader.post("/auth/api-keys")).status == 403
    assert (await reader.get("/nothing")).status == 404


async def test_it_can_be_ended_however_the_end_is_sent(processes: tuple[Process, Process]) -> None:
    here, _ = processes
    bodies: list[dict[str, Any]] = [
        {"raw": b"", "headers": [("content-type", "application/json"), ("content-length", "0")]},
        {"raw": b"{}"},
        {},
    ]
    for sent in bodies:
        await here.master.post("/api/v1/admin/maintenance/enable")
        for _ in range(2):  # ending it again changes nothing
            ended = await here.master.post("/api/v1/admin/maintenance/disable", **sent)
            assert (ended.status, ended.data) == (200, {"enabled": False})
    unknown = await here.master.post("/admin/maintenance/disable", {"now": True})
    assert (unknown.status, unknown.code) == (400, "VALIDATION_ERROR")


async def test_it_survives_and_says_since_when(processes: tuple[Process, Process]) -> None:
    here, there = processes
    assert (await there.master.get("/admin/maintenance/status")).data == {"enabled": False}
    first = (await here.master.post("/admin/maintenance/enable")).data
    assert first["message"]
    operator = Client(here.app, MASTER_KEY)
    again = (await operator.post("/admin/maintenance/enable", {"message": "Still at it."})).data
    assert again == {**first, "message": "Still at it."}
    assert (await there.master.get("/admin/maintenance/status")).data == again
    # A process that starts now reads the same row.
    refusal = await MaintenanceGate(there.database, ManualClock()).refusal()
    assert refusal is not None
    assert refusal.message == "Still at it."


async def test_it_is_audited(processes: tuple[Process, Process]) -> None:
    here, _ = processes
    await here.master.post("/admin/maintenance/enable", {"message": "One."})
    await here.master.post("/admin/maintenance/disable")
    await here.master.post("/admin/maintenance/disable")
    sql = """SELECT action, actor_id, payload_before, payload_after FROM audit_entries
        WHERE resource_type = 'Maintenance' ORDER BY id"""
    on, off = await here.database.run(lambda tx: tx.rows(sql), read_only=True)
    assert (on["action"], on["actor_id"], on["payload_before"]) == (
        "MAINTENANCE_ENABLED",
        "master",
        {"enabled": False},
    )
    assert (off["action"], off["payload_after"]) == ("MAINTENANCE_DISABLED", {"enabled": False})
    assert on["payload_after"] == off["payload_before"]
    assert off["payload_before"]["message"] == "One."


async def test_only_operators_switch_it(processes: tuple[Process, Process]) -> None:
    here, _ = processes
    name = {"name": "tenant"}
    tenant_id = (await here.master.post("/admin/marketplaces", name)).data["id"]
    callers = {
        "support": (await here.key("support"), 200),
        "everything": (await here.key("*"), 200),
        "writer": (await here.key("read", "write"), 403),
        "tenant": (await here.key("*", marketplaceId=tenant_id), 403),
    }
    for who, (caller, status) in callers.items():
        for switch in ("enable", "disable"):
            assert (await caller.post(f"/admin/maintenance/{switch}")).status == status, who
    tenant = await callers["tenant"][0].post("/admin/maintenance/enable")
    assert tenant.details["required_scope"] == "master"
    assert (await callers["writer"][0].get("/admin/maintenance/status")).status == 403
    assert (await here.master.get("/admin/maintenance/status")).data == {"enabled": False}


@pytest.mark.parametrize("body", [{"message": ""}, {"message": "x" * 501}, {"message": 7}, {"until": "tomorrow"}])
async def test_a_wrong_message_is_refused(processes: tuple[Process, Process], body: dict[str, Any]) -> None:
    here, _ = processes
    heard = await here.master.post("/admin/maintenance/enable", body)
    assert (heard.status, heard.code) == (400, "VALIDATION_ERROR")
    assert (await here.master.get("/admin/maintenance/status")).data == {"enabled": False}
