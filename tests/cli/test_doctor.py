"""`offerhub doctor` on set-ups that were broken on purpose: each is named, with its remedy."""

import datetime as dt
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pytest
from redis.asyncio import Redis

from offerhub.cli.checkup.configuration import examine_configuration
from offerhub.cli.checkup.report import Line, Report
from offerhub.cli.doctor import check_configuration, examine_servers
from offerhub.kernel.clock import Clock, ManualClock, SystemClock
from support.command import offerhub
from support.outside import World
from support.own_redis import OwnRedis
from support.tls import TlsFront

pytestmark = pytest.mark.usefixtures("mended")

Environ = dict[str, str]
PRODUCTION: Final[Mapping[str, str]] = {
    "NODE_ENV": "production",
    "DATABASE_URL": "postgresql://offerhub:pw@db.example/offerhub?sslmode=require",
    "REDIS_URL": "rediss://:pw@redis.example:6379",
    "OFFERHUB_MASTER_KEY": "K7gNU3sdo2rXk0Jm3sYwq9cT5vB8nH1LzQe6uFpDaWs=",
    "WALLET_ENCRYPTION_KEY": "0123456789abcdef" * 4,
    "OFFERHUB_JWT_SECRET": "K7gNU3sdo2rXk0Jm3sYwq9cT5vB8nH1LzQe6uFpDaWs=",
    "TRUSTLESS_API_KEY": "trustless.key",
    "TRUSTLESS_WEBHOOK_SECRET": "tw_whsec_something",
    "PUBLIC_BASE_URL": "https://pay.example",
}


@pytest.fixture
async def sound(office_environ: Environ, fresh_database_url: str, tmp_path: Path) -> Environ:
    """A set-up in which nothing is wrong, with a database of its own."""
    return {**office_environ, "DATABASE_URL": fresh_database_url, "TRUSTLESS_WEBHOOK_SECRET": "tw_whsec_something",
            "OFFERHUB_DATA_DIR": str(tmp_path / "data")}  # fmt: skip


async def examined(environ: Mapping[str, str], folder: Path, clock: Clock | None = None) -> Report:
    report = Report()
    settings = examine_configuration(report, environ, folder / ".env")
    if settings is not None:
        await examine_servers(report, settings, clock or SystemClock())
    return report


def wrong(report: Report) -> dict[str, Line]:
    return {line.check: line for line in report.lines if line.state in ("warning", "failed")}


async def test_of_a_sound_set_up_nothing_is_said_but_that_it_is_new(sound: Environ, tmp_path: Path) -> None:
    report = await examined(sound, tmp_path)
    assert set(wrong(report)) <= {"stellar"}, wrong(report)
    assert {"PostgreSQL", "Redis", "schema", "clock", "wallet keys", "queue", "network", "trustlessWork"} <= {
        line.check for line in report.lines if line.state == "ok"
    }
    assert all(line.remedy for line in wrong(report).values())


# -- servers ------------------------------------------------------------------------------------------------------


def password(url: str, text: str) -> str:
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.split(':')[0]}:{text}@{host}"))


def database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def port(url: str, number: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition(":")[0] + f":{number}"))


@pytest.mark.parametrize(
    ("name", "broken", "check", "found", "remedy"),
    [
        pytest.param("DATABASE_URL", lambda url: password(url, "wrong"), "PostgreSQL", "password authentication",
                     "user and the password of DATABASE_URL", id="a wrong password of the database"),
        pytest.param("DATABASE_URL", lambda url: port(url, 9), "PostgreSQL", "", "PostgreSQL runs and listens there",
                     id="a database that is not there"),
        pytest.param("DATABASE_URL", lambda url: database(url, "nowhere"), "PostgreSQL", "does not exist",
                     "CREATE DATABASE", id="no such database"),
        pytest.param("DATABASE_URL", lambda url: url.replace("sslmode=disable", "sslmode=require"), "PostgreSQL",
                     "SSL upgrade", "offers no TLS", id="a database without TLS"),
        pytest.param("REDIS_URL", lambda url: password(url, "wrong"), "Redis", "", "password of REDIS_URL",
                     id="a wrong password of Redis"),
        pytest.param("REDIS_URL", lambda url: port(url, 9), "Redis", "", "Redis runs and listens there",
                     id="a Redis that is not there"),
        pytest.param("REDIS_URL", lambda url: url.replace("redis://", "rediss://"), "Redis", "", "instead of rediss://",
                     id="a Redis without TLS"),
    ],
)  # fmt: skip
async def test_a_broken_variable(
    sound: Environ,
    tmp_path: Path,
    name: str,
    broken: Callable[[str], str],
    check: str,
    found: str,
    remedy: str,
) -> None:
    report = await examined({**sound, name: broken(sound[name])}, tmp_path)
    line = wrong(report)[check]
    assert (line.state, report.state) == ("failed", "failed")
    assert found in line.found
    assert remedy in line.remedy
    assert "wrong" not in line.found.replace("wrong version", ""), "a password is not printed"


async def test_a_redis_that_speaks_tls_alone(sound: Environ, tmp_path: Path, tls_redis: TlsFront) -> None:
    in_clear = tls_redis.url.replace("rediss://", "redis://")
    line = wrong(await examined({**sound, "REDIS_URL": in_clear}, tmp_path))["Redis"]
    assert "write rediss:// instead of redis://" in line.remedy
    line = wrong(await examined({**sound, "REDIS_URL": tls_redis.url}, tmp_path))["Redis"]
    assert "ssl_ca_certs" in line.remedy


async def test_a_redis_that_throws_keys_away(sound: Environ, tmp_path: Path, own_redis: OwnRedis) -> None:
    await own_redis.start()
    client = Redis.from_url(own_redis.url)
    await client.config_set("maxmemory-policy", "allkeys-lru")
    await client.aclose()
    line = wrong(await examined({**sound, "REDIS_URL": own_redis.url}, tmp_path))["Redis"]
    assert "allkeys-lru" in line.found
    assert "CONFIG SET maxmemory-policy noeviction" in line.remedy


@pytest.fixture
async def without_rights(empty_database_url: str) -> AsyncIterator[str]:
    """An empty database and a user for it, made with the statements of the deployment guide."""
    name, database = f"offerhub_{secrets.token_hex(4)}", urlsplit(empty_database_url).path[1:]
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(f"CREATE USER {name} WITH ENCRYPTED PASSWORD 'secure_password'")
    await connection.execute(f"GRANT ALL PRIVILEGES ON DATABASE {database} TO {name}")
    parts = urlsplit(empty_database_url)
    host = parts.netloc.rpartition("@")[2]
    yield urlunsplit(parts._replace(netloc=f"{name}:secure_password@{host}"))
    await connection.execute(f"DROP OWNED BY {name}")
    await connection.execute(f"DROP USER {name}")
    await connection.close()


async def test_a_user_who_may_not_create_tables(sound: Environ, tmp_path: Path, without_rights: str) -> None:
    """What the guide's GRANT leaves behind since PostgreSQL 15."""
    line = wrong(await examined({**sound, "DATABASE_URL": without_rights}, tmp_path))["schema"]
    assert "may not create tables" in line.found
    assert "GRANT ALL ON SCHEMA public" in line.remedy


async def test_a_schema_that_is_behind_or_was_edited(sound: Environ, tmp_path: Path) -> None:
    connection = await asyncpg.connect(sound["DATABASE_URL"])
    await connection.execute("UPDATE schema_migrations SET checksum = 'edited' WHERE version = 7")
    line = wrong(await examined(sound, tmp_path))["schema"]
    assert ("0007_" in line.found, line.state) == (True, "failed")
    await connection.execute("DELETE FROM schema_migrations WHERE version >= 7")
    line = wrong(await examined(sound, tmp_path))["schema"]
    assert "pending" in line.found
    assert "offerhub migrate up" in line.remedy
    await connection.close()


async def test_wallets_under_another_key(sound: Environ, tmp_path: Path) -> None:
    made = {"LOG_LEVEL": "error", "STELLAR_CHANNEL_ACCOUNTS": "0", "WALLET_ENCRYPTION_KEY": "11" * 32}
    code, printed = await offerhub(tmp_path, "bootstrap", **{**sound, **made})
    assert code == 0, printed
    line = wrong(await examined({**sound, "WALLET_ENCRYPTION_KEY": "22" * 32}, tmp_path))["wallet keys"]
    assert ("another key" in line.found, "secrets.md" in line.remedy) == (True, True)
    newer = {"WALLET_ENCRYPTION_KEY": "22" * 32, "OFFERHUB_WALLET_KEY_VERSION": "2"}
    line = wrong(await examined({**sound, **newer}, tmp_path))["wallet keys"]
    assert "under key version 1" in line.found


async def test_a_clock_that_is_wrong(sound: Environ, tmp_path: Path) -> None:
    clock = ManualClock(dt.datetime.now(dt.UTC) + dt.timedelta(minutes=7))
    report = await examined(sound, tmp_path, clock)
    apart = [line for line in report.lines if line.check == "clock"]
    assert {line.state for line in apart} == {"failed"}
    for whose in ("PostgreSQL's", "Redis's", "Horizon's"):
        assert any(whose in line.found for line in apart)
    assert all("NTP" in line.remedy for line in apart)


async def test_jobs_that_failed_for_good(sound: Environ, tmp_path: Path) -> None:
    connection = await asyncpg.connect(sound["DATABASE_URL"])
    await connection.execute(LETTERS)
    await connection.close()
    line = wrong(await examined(sound, tmp_path))["queue"]
    assert "sagas needs a look at its dead letters" in line.found
    assert "offerhub dlq list" in line.remedy


LETTERS: Final = """
INSERT INTO dead_letters (id, queue, job_key, job_id, name, payload, attempts, reason, trace, created_at, failed_at)
SELECT 'sagas.' || n, 'sagas', n, n, 'drive', '{}', 5, 'broken', '', now(), now() FROM generate_series(1, 101) n
"""


async def test_backups_that_stand_still(sound: Environ, tmp_path: Path) -> None:
    """In production: a development's data is nobody's loss."""
    production = {**sound, "NODE_ENV": "production", "OFFERHUB_MASTER_KEY": PRODUCTION["OFFERHUB_MASTER_KEY"]}
    connection = await asyncpg.connect(sound["DATABASE_URL"])
    await connection.execute("UPDATE schema_migrations SET applied_at = applied_at - interval '30 hours'")
    await connection.close()
    line = wrong(await examined(production, tmp_path))["backups"]
    assert ("none for 30 hours" in line.found, line.state) == (True, "warning")
    assert "offerhub backup" in line.remedy
    assert "backups" not in wrong(await examined(sound, tmp_path))
    code, printed = await offerhub(tmp_path, "backup", "books.dump", **sound)
    assert code == 0, printed
    assert "backups" not in wrong(await examined(production, tmp_path))


async def test_another_network(sound: Environ, tmp_path: Path) -> None:
    report = await examined({**sound, "STELLAR_NETWORK_PASSPHRASE": "Another Network ; 2026"}, tmp_path)
    line = wrong(report)["network"]
    assert "Another Network" in line.found
    assert "STELLAR_HORIZON_URL agree" in line.remedy


async def test_a_key_that_trustless_work_refuses(sound: Environ, tmp_path: Path, world: World) -> None:
    await world.fault("trustless_work", ".", "unauthorized", status=401)
    line = wrong(await examined(sound, tmp_path))["trustlessWork"]
    assert "TRUSTLESS_API_KEY" in line.remedy


async def test_a_provider_that_is_away(sound: Environ, tmp_path: Path, world: World) -> None:
    await world.fault("horizon", ".", "error_before")
    line = wrong(await examined(sound, tmp_path))["stellar"]
    assert "STELLAR_HORIZON_URL" in line.remedy


# -- what can be seen without asking ---------------------------------------------------------------------------------


def looked_at(environ: Mapping[str, str], folder: Path) -> dict[str, list[Line]]:
    report = Report()
    examine_configuration(report, environ, folder / ".env")
    found: dict[str, list[Line]] = {}
    for line in report.lines:
        if line.state in ("warning", "failed"):
            found.setdefault(line.check, []).append(line)
    return found


def test_a_sound_production(tmp_path: Path) -> None:
    assert looked_at(PRODUCTION, tmp_path) == {}


@pytest.mark.parametrize(
    ("change", "check", "found", "remedy"),
    [
        ({"TRUSTLESS_WEBHOOK_SECRET": ""}, "configuration", "TRUSTLESS_WEBHOOK_SECRET must be set", "Verifies"),
        ({"OFFERHUB_MASTER_KEY": "weak"}, "configuration", "at least 32 characters", "OFFERHUB_MASTER_KEY is"),
        ({"DATABASE_URL": "mysql://u:p@h/d"}, "configuration", "postgresql://", "DATABASE_URL is"),
        ({"DATABASE_URL": PRODUCTION["DATABASE_URL"].replace("pw", "a#b")}, "URL form", "# or @", "%23"),
        ({"REDIS_URL": "rediss://:p@ss@redis.example:6379"}, "URL form", "# or @", "%40"),
        ({"DATABASE_URL": "postgresql://u:p@h:6543/d?sslmode=require"}, "URL form", "pooler", "DIRECT_URL"),
        ({"DATABASE_URL": "postgresql://u:p@h?sslmode=require"}, "URL form", "no database", "/<database>"),
        ({"DATABASE_URL": "postgresql://u:p@h/d"}, "TLS", "DATABASE_URL", "sslmode=require"),
        ({"REDIS_URL": "redis://:p@redis.example:6379"}, "TLS", "REDIS_URL", "rediss://"),
        ({"WALLET_ENCRYPTION_KEY": ""}, "keys", "derived from the master key", "secrets.md"),
        (
            {"TRUSTLESS_WEBHOOK_SECRET_PREVIOUS": "before"},
            "keys",
            "rotation that is not finished",
            "take the old one",
        ),
        ({"PUBLIC_BASE_URL": "http://pay.example"}, "public address", "http://pay.example", "https://"),
    ],
)
def test_a_configuration_that_is_not_as_it_should_be(
    tmp_path: Path, change: dict[str, str], check: str, found: str, remedy: str
) -> None:
    told = looked_at({**PRODUCTION, **change}, tmp_path)
    assert set(told) - {"configuration"} == {check} - {"configuration"}
    (line,) = told[check]
    assert found in line.found
    assert remedy in line.remedy


def test_files_that_others_can_read(tmp_path: Path) -> None:
    secret = tmp_path / "master_key"
    secret.write_text(PRODUCTION["OFFERHUB_MASTER_KEY"])
    (tmp_path / ".env").write_text(f"OFFERHUB_MASTER_KEY_FILE={quote(str(secret))}\n")
    environ = {name: value for name, value in PRODUCTION.items() if name != "OFFERHUB_MASTER_KEY"}
    for path in (secret, tmp_path / ".env"):
        path.chmod(0o644)
    told = looked_at(environ, tmp_path)["file permissions"]
    assert [line.remedy for line in told] == [f"chmod 600 {path}" for path in (tmp_path / ".env", secret)]
    for path in (secret, tmp_path / ".env"):
        path.chmod(0o600)
    assert looked_at(environ, tmp_path) == {}


@pytest.mark.parametrize(
    ("change", "code"), [({}, 0), ({"PUBLIC_BASE_URL": "http://x"}, 1), ({"REDIS_URL": "redis://h"}, 3)]
)
def test_config_check_asks_nobody_and_ends_with_the_verdict(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {**PRODUCTION, **change}.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(SystemExit) as ended:
        check_configuration(as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (ended.value.code, told["state"]) == (code, {0: "ok", 1: "failed", 3: "warning"}[code])


# -- the command --------------------------------------------------------------------------------------------------


async def test_the_command_tells_all_of_it(sound: Environ, tmp_path: Path) -> None:
    async def told(**variables: str) -> tuple[int, dict[str, Any]]:
        code, printed = await offerhub(tmp_path, "doctor", "--json", **{**sound, **variables})
        return code, json.loads(printed)

    code, found = await told(REDIS_URL=port(sound["REDIS_URL"], 9))
    assert (code, found["state"]) == (1, "failed")
    redis = next(one for one in found["checks"] if one["check"] == "Redis")
    assert redis["remedy"]
    code, printed = await offerhub(tmp_path, "doctor", **{**sound, "NODE_ENV": "production"})
    assert code == 1
    assert "Set PUBLIC_BASE_URL to the https:// address" in printed
    assert "Traceback" not in printed
