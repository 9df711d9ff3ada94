"""Two versions of the program on one database: the older one works on while the newer one's schema comes, and after.

The version of tomorrow is not written yet, so its migration is made up here, as invasive as the rules allow. The one
of yesterday is taken from the history of this repository, as it was before its last migration.
"""

import asyncio
import io
import itertools
import re
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from asgi_client import Heard
from offerhub.runtime import migrations
from offerhub.runtime.migrations import MIGRATIONS_FOLDER, Migration, migrate, read_migrations
from support.fleet import fleet
from support.long_runs import Tally, long_runs
from support.outside import World, eventually
from support.own_redis import OwnRedis
from support.product import MASTER_KEY, Marketplace, Person, Running, environment, running, unique
from support.racing import UNIT

pytestmark = pytest.mark.long_form

FIRST_EXPANDING = 29
"""From this one on migrations only add (decision 0021)."""
ROUNDS = 60 if long_runs() else 3
BUSY = {f"public.{name}" for name in ("orders", "users", "events", "outbox", "sagas", "idempotent_requests")}
BUSY |= {f"ledger.{name}" for name in ("accounts", "transactions", "postings")}
"""Tables that every request about money needs; in long runs all of them change."""
REPOSITORY = Path(__file__).resolve().parents[2]

_NARROWS = re.compile(
    r"\bDROP\s+(TABLE|COLUMN|FUNCTION|TYPE|SCHEMA|VIEW|DEFAULT|CONSTRAINT\s+\w+_(pkey|key))\b|\bRENAME\b"
    r"|\bSET\s+NOT\s+NULL\b|\bALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE\b"
    r"|\bADD\s+COLUMN\b[^;,]*\bNOT\s+NULL\b(?![^;,]*\bDEFAULT\b)|(?<=;)\s*TRUNCATE\b|(?<=;)\s*LOCK\b",
    re.IGNORECASE,
)
"""What takes away from a program something that it may use. Guards on what no version writes are not among it."""


def narrowing(sql: str) -> list[str]:
    """What in a migration the program of the release before might not bear; nothing when it says why not."""
    if re.search(r"^-- Contract:", sql, re.MULTILINE):
        return []
    return [found.group() for found in _NARROWS.finditer(";" + re.sub(r"--[^\n]*", "", sql))]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("ALTER TABLE orders ADD COLUMN a text; CREATE TABLE b (c text NOT NULL); CREATE INDEX d ON b (c);", []),
        ("ALTER TABLE orders ADD COLUMN a text NOT NULL DEFAULT 'x';", []),
        ("ALTER TABLE orders ADD COLUMN a text NOT NULL;", ["ADD COLUMN a text NOT NULL"]),
        ("ALTER TABLE orders DROP COLUMN a;", ["DROP COLUMN"]),
        (
            "ALTER TABLE orders RENAME a TO b; ALTER TABLE c ALTER COLUMN d TYPE int;",
            ["RENAME", "ALTER COLUMN d TYPE"],
        ),
        ("-- Contract: nobody reads it since 0029.\nALTER TABLE orders DROP COLUMN a;", []),
        ("-- It does not RENAME anything.\nCREATE TABLE b ();", []),
        ("CREATE TRIGGER t BEFORE TRUNCATE ON b EXECUTE FUNCTION f(); ALTER TABLE b DROP CONSTRAINT c_fkey;", []),
        ("ALTER TABLE b DROP CONSTRAINT b_pkey; TRUNCATE c;", ["DROP CONSTRAINT b_pkey", " TRUNCATE"]),
    ],
)
def test_what_narrows_a_schema_is_told_apart(sql: str, found: list[str]) -> None:
    assert narrowing(sql) == found


def test_migrations_only_add() -> None:
    """A rolling upgrade runs the program of the release before on the new schema."""
    faults = {one.label: narrowing(one.up) for one in read_migrations() if one.version >= FIRST_EXPANDING}
    assert {label: found for label, found in faults.items() if found} == {}


# -- load ----------------------------------------------------------------------------------------------------------


@dataclass
class Load:
    """Money that goes round between two users of a marketplace, at all of these processes, until it is stopped."""

    shops: Sequence[Marketplace]
    people: tuple[Person, Person]
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    heard: list[Heard] = field(default_factory=list)

    async def run(self, loops: int) -> None:
        """Until it is told to stop. Every answer must be the one that is due."""
        async with asyncio.TaskGroup() as group:
            for number in range(loops):
                group.create_task(self._loop(self.shops[number % len(self.shops)], number))

    async def _loop(self, shop: Marketplace, number: int) -> None:
        buyer, seller = self.people if number % 2 else self.people[::-1]
        while not self.stopped.is_set():
            await self._said(shop.post(f"/users/{buyer.id}/balance/credit", {"amount": "3.00"}, key=unique("k")), 200)
            body = {"buyer_id": buyer.id, "seller_id": seller.id, "amount": "2.00", "title": "t"}
            order = (await self._said(shop.post("/orders", body, key=unique("k")), 201)).data["id"]
            await self._said(shop.post(f"/orders/{order}/reserve"), 200)
            await self._said(shop.post(f"/orders/{order}/cancel"), 200)
            hold = {"amount": "3.00", "orderId": order}
            await self._said(shop.post(f"/users/{buyer.id}/balance/reserve", hold), 200)
            paid = {**hold, "sellerId": seller.id}
            await self._said(shop.post(f"/users/{buyer.id}/balance/release", paid), 200)
            await self._said(shop.get(f"/users/{seller.id}/balance"), 200)

    async def _said(self, call: Awaitable[Heard], status: int) -> Heard:
        heard = await call
        assert heard.status == status, heard.body[:1000]
        self.heard.append(heard)
        return heard

    async def goes_on(self, more: int) -> None:
        """Wait until so many more requests have been answered; it may take long, but never stands still."""
        until = len(self.heard) + more

        async def answered() -> int:
            return len(self.heard)

        while (so_far := len(self.heard)) < until:
            await eventually(answered, lambda count, so_far=so_far: count > so_far)

    @property
    def credited(self) -> int:
        """What has been credited in all, in units."""
        return 3 * UNIT * sum(b"CREDIT_AVAILABLE" in one.body for one in self.heard)


_WAITS_FOR_ORDERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'offerhub migrate' AND wait_event_type = 'Lock' AND query LIKE '%public.orders%'
"""


async def tables(url: str) -> list[str]:
    """All tables of the schema, quoted."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            """
            SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
            WHERE schemaname IN ('public', 'ledger') AND tablename <> 'schema_migrations' ORDER BY 1
            """
        )
        return [row["name"] for row in rows]
    finally:
        await connection.close()


async def tomorrow(folder: Path, url: str) -> None:
    """The migrations of the next release: today's, and one for each table that widens it."""
    shutil.copytree(MIGRATIONS_FOLDER, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py*", "__*"))
    number = itertools.count(read_migrations()[-1].version + 1)
    for table in [one for one in await tables(url) if long_runs() or one in BUSY]:
        added = folder / f"{next(number):04d}_{re.sub('[^a-z]', '_', table)}"
        added.mkdir()
        (added / "up.sql").write_text(
            f"ALTER TABLE {table} ADD COLUMN tomorrow text, ADD COLUMN counted bigint NOT NULL DEFAULT 7;\n"
            f"CREATE INDEX ON {table} (counted) WHERE tomorrow IS NOT NULL;\n"
        )
    added = folder / f"{next(number):04d}_more"
    added.mkdir()
    (added / "up.sql").write_text(
        'CREATE TABLE tomorrows (id text PRIMARY KEY, order_id text COLLATE "C" REFERENCES orders);\n'
        "INSERT INTO state_moves VALUES ('orders.status', 'CLOSED', 'ARCHIVED');\n"
    )


@pytest.fixture(scope="module")
async def office(office_environ: dict[str, str]) -> AsyncIterator[Running]:
    async with running(office_environ) as found:
        yield found


async def test_todays_program_works_on_under_tomorrows_schema(
    office: Running,
    office_environ: dict[str, str],
    world: World,
    http: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tally: Tally,
) -> None:
    """Tables change while money moves; a report that reads orders for long is in the way of one of them."""
    if not long_runs():
        monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "200ms")
        monkeypatch.setattr(migrations, "LOCK_PAUSE_SECONDS", 0.2)
    url = office_environ["DATABASE_URL"]
    shop = await Marketplace.found(office, world, http)
    buyer, seller = await shop.people("100", None)
    await tomorrow(tmp_path / "migrations", url)
    load = Load([shop], (buyer, seller))
    running_load = asyncio.create_task(load.run(4))
    await load.goes_on(20)
    report = await asyncpg.connect(url)
    try:
        reading = report.transaction()
        await reading.start()
        await report.execute("SELECT count(*) FROM orders")
        upgrade = asyncio.create_task(migrate(url, tmp_path / "migrations"))
        # The change of `orders` is waiting, and requests that need orders get through all the same.
        await eventually(lambda: office.value(_WAITS_FOR_ORDERS), lambda found: found == 1)
        await load.goes_on(10 * ROUNDS)
        assert not upgrade.done()
        await reading.rollback()
    finally:
        await report.close()
    applied = await upgrade
    assert len(applied) == len(list((tmp_path / "migrations").iterdir())) - len(read_migrations())
    await load.goes_on(10 * ROUNDS)
    # What prepares everything anew, and what reaches outside, works as well.
    order = await shop.order(buyer, seller, "10.00", "IN_PROGRESS")
    assert (await shop.done("POST", f"/orders/{order}/resolution/release"))["status"] == "CLOSED"
    target, _ = await world.outside_wallet()
    body = {"userId": buyer.id, "amount": "5.00", "destinationType": "crypto", "destinationRef": target}
    assert (await shop.done("POST", "/withdrawals", body, status=201))["status"] == "WITHDRAWAL_COMPLETED"
    load.stopped.set()
    await running_load
    assert {one.status for one in load.heard} == {200, 201}
    owned = [await shop.units(person.id) for person in (buyer, seller)]
    assert sum(sum(kinds.values()) for kinds in owned) == 95 * UNIT - 300_000 + load.credited
    await office.assert_books_hold()
    tally("races", len(load.heard))


# -- yesterday -----------------------------------------------------------------------------------------------------


def git(*words: str) -> bytes:
    """What git says of this repository; nothing where there is none, or not so much of it."""
    command = ["git", "-C", str(REPOSITORY), *words]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else b""


def lines(*words: str) -> list[str]:
    """The same, as lines."""
    return git(*words).decode().splitlines()


def unpack(commit: str, folder: Path) -> None:
    """The sources as they were."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", commit, "src"))) as packed:
        packed.extractall(folder, filter="data")


def yesterday(current: Sequence[Migration]) -> tuple[str, int] | None:
    """The newest commit that lacks migrations of today's and has none else, and the last migration that it has."""
    of_today = [f"{one.label}/up.sql" for one in current]
    blobs = {path: lines("hash-object", str(MIGRATIONS_FOLDER / path)) for path in of_today}
    for commit in lines("log", "--format=%H", "--", "src/offerhub/migrations"):
        for candidate in (commit, f"{commit}^"):
            listed = lines("ls-tree", "-r", candidate, "src/offerhub/migrations/")
            found = {line.split("/migrations/")[1]: [line.split()[2]] for line in listed if line.endswith("/up.sql")}
            if 0 < len(found) < len(current) and found == {path: blobs[path] for path in of_today[: len(found)]}:
                return candidate, len(found)
    return None


@pytest.mark.long
async def test_yesterdays_program_and_todays_share_a_database_during_the_upgrade(
    empty_database_url: str,
    own_redis: OwnRedis,
    sandbox_environ: dict[str, str],
    world: World,
    http: aiohttp.ClientSession,
    tmp_path: Path,
    tally: Tally,
) -> None:
    """Processes of the older version are under load; two of the newer one are started at once, and all go on."""
    found = await asyncio.to_thread(yesterday, read_migrations())
    if found is None:
        pytest.skip("this clone has no history: git fetch --unshallow")
    commit, version = found
    older = tmp_path / "older"
    older.mkdir()
    await asyncio.to_thread(unpack, commit, older)
    done = await migrate(empty_database_url, older / "src/offerhub/migrations")
    assert [one.version for one in done] == list(range(1, version + 1))
    await own_redis.start()
    environ = environment(empty_database_url, own_redis.url, sandbox_environ, OFFERHUB_MASTER_KEY=MASTER_KEY)
    async with fleet(tmp_path, environ, apis=0, workers=0) as ours:
        old = await ours.start_api("--jobs", sources=older / "src")
        await old.ready()
        live = ours.at(old)
        versions = "SELECT max(version), count(*) FROM schema_migrations"
        assert tuple((await live.rows(versions))[0]) == (version, version)
        before = await Marketplace.found(live, world, http)
        buyer, seller = await before.people("500", None)
        load = Load([before], (buyer, seller))
        on_the_old = asyncio.create_task(load.run(2))
        await load.goes_on(50)
        begun = [await before.order(buyer, seller, "10.00", "ESCROW_FUNDING") for _ in range(4)]
        news = [await ours.start_api("--jobs") for _ in range(2)]
        await asyncio.gather(*(new.ready() for new in news))
        current = len(read_migrations())
        assert tuple((await live.rows(versions))[0]) == (current, current), "each was applied once"
        after = [before.on(ours.at(new)) for new in news]
        both = Load([before, *after], (buyer, seller))
        on_all = asyncio.create_task(both.run(6))
        # What one version has begun the other one ends, both ways, on the chain as well.
        turns = itertools.cycle([before, *after])
        for order in begun:
            assert (await next(turns).done("POST", f"/orders/{order}/escrow/fund"))["status"] == "IN_PROGRESS"
            assert (await next(turns).done("POST", f"/orders/{order}/resolution/release"))["status"] == "CLOSED"
        for number in range(6):
            shop, other = next(turns), next(turns)
            order = await shop.order(buyer, seller, "10.00", "IN_PROGRESS")
            body = {"reason": "r"} if number % 2 else None
            move = "refund" if number % 2 else "release"
            assert (await other.done("POST", f"/orders/{order}/resolution/{move}", body))["status"] == "CLOSED"
        [late] = await before.people("30")
        target, _ = await world.outside_wallet()
        body = {"userId": late.id, "amount": "10.00", "destinationType": "crypto", "destinationRef": target}
        for shop in (before, after[0]):
            made = await shop.done("POST", "/withdrawals", body, status=201)
            assert made["status"] == "WITHDRAWAL_COMPLETED"
        await both.goes_on(200)
        for one in (load, both):
            one.stopped.set()
        await asyncio.gather(on_the_old, on_all)
        # The old ones are stopped last, as a rolling upgrade does, and nothing of theirs is left behind.
        assert await old.stop() == 0
        await after[0].done("GET", "/orders")
        await live.assert_books_hold()
        promised = [sum((await before.units(person.id)).values()) for person in (buyer, seller)]
        there = [await before.on_chain(person.address) for person in (buyer, seller)]
        assert sum(promised) - load.credited - both.credited == sum(there)
        await before.assert_backed(late)
        assert await before.on_chain(target) == 20 * UNIT
        tally("races", len(load.heard) + len(both.heard))
