"""A thousand wallets, five thousand deposits, and a service that is killed three times meanwhile.

Every deposit is credited exactly once, in the order of the ledger, whichever of the two sources is read. A short run
has fewer of them.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from stellar_sdk import Keypair

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.cli.development import sandbox_process
from offerhub.kernel.ids import new_id
from offerhub.kernel.money import format_chain_amount
from offerhub.runtime.database import Database, Tx
from support.command import started
from support.conservation import assert_conserved
from support.fleet import Member
from support.long_runs import Tally, long_runs
from support.outside import PATIENCE_SECONDS, World, eventually
from support.product import environment

WALLETS = 1_000 if long_runs() else 100
TARGETS = 50
KILL_AT = (8, 34, 66)
"""So many deposits of a hundred are booked when the service dies; a page has up to 200."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[dict[str, str]]:
    """A sandbox of this module's own: a thousand accounts would slow the others down."""
    with sandbox_process(ledger_seconds=0.1, airtm_settle_seconds=0) as variables:
        yield variables


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    found = await Database.connect(fresh_database_url, pool_size=4)
    yield found
    await found.close()


class Service:
    """The worker as a real process, which dies by SIGKILL and is started again."""

    def __init__(self, variables: dict[str, str], database: Database, folder: Path) -> None:
        self._variables = variables
        self._database = database
        self._folder = folder
        self._worker: Member | None = None

    async def start(self) -> None:
        self._worker = Member("worker", await started(self._folder, "worker", **self._variables))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        if self._worker is not None:
            await self._worker.kill()

    def _printed(self) -> str:
        assert self._worker is not None
        return "".join(self._worker.printed)[-3000:]

    async def kill(self) -> None:
        assert self._worker is not None
        assert self._worker.process.returncode is None, self._printed()
        await self._worker.kill()
        # The dead do not renew their leases; time has passed.
        await self._database.run(lambda tx: tx.execute("UPDATE leases SET held_until = '-infinity'"))

    async def booked_at_least(self, wanted: int) -> None:
        """Wait until so many deposits are booked; it goes on as long as there are more and more."""
        count, since = -1, asyncio.get_running_loop().time()
        while count < wanted:
            found = await self._database.run(lambda tx: tx.value("SELECT count(*) FROM deposits"), read_only=True)
            if found > count:
                count, since = found, asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() < since + 3 * PATIENCE_SECONDS, self._printed()
            await asyncio.sleep(0.02)


async def move_in(database: Database, addresses: list[str]) -> None:
    """A user for each wallet, all at once."""
    users = [new_id("usr") for _ in addresses]

    async def insert(tx: Tx) -> None:
        await tx.execute(
            """
            INSERT INTO users (id, marketplace_id, external_user_id, type)
            SELECT u, $2, u, 'BOTH' FROM unnest($1::text[]) u
            """,
            users,
            DEFAULT_MARKETPLACE_ID,
        )
        await tx.execute(
            """
            INSERT INTO wallets (id, marketplace_id, user_id, purpose, public_key, secret_blob, key_version, status)
            SELECT w, $4, u, 'user', a, convert_to(repeat('sealed', 14), 'UTF8'), 1, 'READY'
            FROM unnest($1::text[], $2::text[], $3::text[]) AS x (w, u, a)
            """,
            [new_id("wal") for _ in addresses],
            users,
            addresses,
            DEFAULT_MARKETPLACE_ID,
        )

    await database.run(insert)


async def pay_in(world: World, addresses: list[str], batch: int) -> list[tuple[str, int]]:
    """One transaction that pays many wallets, some of them twice, as many payments or as one contract call."""
    targets = [addresses[(batch * 37 + number * 11) % WALLETS] for number in range(TARGETS - 2)]
    targets += targets[:2]
    units = 10_000_000 + batch
    shape = "call" if batch % 4 == 0 else "payment"
    await world.control("POST", "credit", shape=shape, to=targets, amount=format_chain_amount(units))
    return [(target, units) for target in targets]


@pytest.mark.long_form
@pytest.mark.parametrize("source", ["horizon", "rpc"])
async def test_every_deposit_is_credited_once_in_the_order_of_the_ledger(
    source: str,
    sandbox: dict[str, str],
    database: Database,
    fresh_database_url: str,
    redis_url: str,
    tmp_path: Path,
    http: aiohttp.ClientSession,
    tally: Tally,
) -> None:
    world = World(sandbox, http)
    addresses = [Keypair.random().public_key for _ in range(WALLETS)]
    await world.control("POST", "accounts", addresses=addresses)
    await move_in(database, addresses)
    variables = environment(fresh_database_url, redis_url, sandbox, STELLAR_DEPOSIT_SOURCE=source)
    service = Service(variables | {"DEPOSIT_POLL_SECONDS": "0.05"}, database, tmp_path)
    begun = "SELECT count(*) FROM cursors WHERE name = $1"
    paid: Counter[tuple[str, int]] = Counter()

    batches = 100 if long_runs() else 6

    async def pay(lane: range) -> None:
        for batch in lane:
            paid.update(await pay_in(world, addresses, batch))

    async with service:
        # Deposits count from where it begins.
        await eventually(
            lambda: database.run(lambda tx: tx.value(begun, f"deposits:{source}"), read_only=True),
            lambda found: found == 1,
        )
        lanes = asyncio.gather(*(pay(range(lane, batches, 5)) for lane in range(5)))
        wanted = batches * TARGETS
        for percent in KILL_AT:
            await service.booked_at_least(wanted * percent // 100)
            await service.kill()
            await service.start()
        await lanes
        await service.booked_at_least(wanted)
        await assert_conserved(database, world.url)
    await _judge(database, paid)
    tally("deposits credited once", paid.total())


async def _judge(database: Database, paid: Counter[tuple[str, int]]) -> None:
    async def rows(sql: str) -> list[Any]:
        return await database.run(lambda tx: tx.rows(sql), read_only=True)

    booked = await rows("SELECT operation_id, operation_index, address, amount, user_id FROM deposits")
    assert Counter((row["address"], row["amount"]) for row in booked) == paid
    events = await rows(
        "SELECT aggregate_id, sequence, payload FROM events WHERE type = 'balance.credited' ORDER BY position"
    )
    assert len(events) == sum(paid.values())
    owners = {row["address"]: row["user_id"] for row in booked}
    assert Counter(row["aggregate_id"] for row in events) == Counter(
        owners[address] for address, _ in paid.elements()
    )
    operations = [int(_payload(row)["sourceId"].partition(":")[0]) for row in events]
    assert operations == sorted(operations), "in the order of the ledger"


def _payload(row: Any) -> dict[str, Any]:
    payload = row["payload"]
    return dict(json.loads(payload) if isinstance(payload, str) else payload)
