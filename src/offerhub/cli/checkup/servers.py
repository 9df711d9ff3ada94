"""PostgreSQL and Redis, asked directly: can they be reached, are they the right ones, do their clocks agree."""

import asyncio
import contextlib
import socket
import ssl
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from offerhub.cli.checkup.report import Report
from offerhub.kernel.clock import Clock
from offerhub.runtime import certificate, migrations
from offerhub.runtime.migrations import MigrationError
from offerhub.settings import Settings
from offerhub.settings.variable import split_url

ANSWER_SECONDS_MAX: Final = 5.0
CLOCK_SECONDS_MAX: Final = 5.0
"""More than this apart, and leases, tokens and signatures of webhooks begin to be refused."""
POSTGRES_MIN: Final = 150_000
REDIS_MIN: Final = 7
CONNECTIONS_LEFT_MIN: Final = 10


async def examine_postgres(report: Report, settings: Settings, clock: Clock) -> bool:
    """Whether the database can be used, schema included."""
    url = settings.storage.database_url.reveal()
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            connection = await asyncpg.connect(url, server_settings={"application_name": "offerhub doctor"})
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        report.failed("PostgreSQL", _words(error), _postgres_remedy(error))
        return False
    try:
        usable = await _server(report, connection, settings)
        await _postgres_clock(report, connection, clock)
        return await _schema(report, connection, settings) and usable
    finally:
        await connection.close()


def _postgres_remedy(error: Exception) -> str:
    text = str(error)
    remedies: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
        (
            (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError),
            "Set the user and the password of DATABASE_URL right; special characters as %40 and the like.",
        ),
        (asyncpg.InvalidCatalogNameError, "Create the database (CREATE DATABASE …), or name the right one."),
        (asyncpg.TooManyConnectionsError, "Raise max_connections, or lower DATABASE_POOL_SIZE."),
        (socket.gaierror, "The host of DATABASE_URL is not known here: check its spelling and the network's DNS."),
        (
            TimeoutError,
            "Nothing answers there: check host, port, and the firewall between this machine and the database.",
        ),
        (
            ssl.SSLCertVerificationError,
            "The server's certificate is not trusted: add sslrootcert=/path/to/ca.pem, and use the name it is for.",
        ),
    )
    for kind, remedy in remedies:
        if isinstance(error, kind):
            return remedy
    if "SSL upgrade" in text:
        return (
            "The server offers no TLS: switch it on there (ssl = on), or leave sslmode out in a network of your own."
        )
    if "no encryption" in text or "SSL" in text:
        return "The server insists on TLS: add ?sslmode=require to DATABASE_URL."
    return "Check host and port of DATABASE_URL, and that PostgreSQL runs and listens there."


async def _server(report: Report, connection: "asyncpg.Connection[Any]", settings: Settings) -> bool:
    row = await connection.fetchrow(
        """
        SELECT current_setting('server_version') AS shown, current_setting('server_version_num')::int AS version,
               pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS read_only,
               current_setting('server_encoding') AS encoding, current_setting('max_connections')::int AS most,
               (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
               (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS tls
        """
    )
    assert row is not None
    usable = True
    if row["version"] < POSTGRES_MIN:
        usable = False
        report.failed("PostgreSQL", f"version {row['shown']}", "Upgrade it to 15 or newer.")
    if row["read_only"]:
        usable = False
        report.failed(
            "PostgreSQL",
            "this server is a standby, or read-only",
            "Lead DATABASE_URL to the primary: name all hosts and add target_session_attrs=read-write.",
        )
    if row["encoding"] != "UTF8":
        usable = False
        report.failed("PostgreSQL", f"encoding {row['encoding']}", "Create the database with ENCODING 'UTF8'.")
    opens = settings.storage.database_pool_size
    if row["most"] - row["used"] < opens + CONNECTIONS_LEFT_MIN:
        report.warning(
            "PostgreSQL",
            f"{row['used']} of {row['most']} connections are taken, and a process opens {opens}",
            "Raise max_connections, lower DATABASE_POOL_SIZE, or put a pooler in between (with DIRECT_URL).",
        )
    if usable:
        report.ok("PostgreSQL", f"version {row['shown']}, {row['tls'] or 'no TLS on this connection'}")
    return usable


async def _schema(report: Report, connection: "asyncpg.Connection[Any]", settings: Settings) -> bool:
    try:
        found = await migrations.status(settings.storage.direct_url.reveal())
    except (MigrationError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        report.failed("schema", _words(error), "DIRECT_URL must lead to the same database as DATABASE_URL.")
        return False
    changed = [one for one in found if one.state == "changed"]
    pending = [one for one in found if one.state == "pending"]
    if changed:
        names = ", ".join(one.label for one in changed)
        report.failed(
            "schema",
            f"{names}: not what this program would have applied",
            "Install the program that this database belongs to; a migration is never edited once it is applied.",
        )
        return False
    if pending:
        may_create = await connection.fetchval(
            "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)"
        )
        if not may_create:
            report.failed(
                "schema",
                f"{len(pending)} migrations are pending, and this user may not create tables",
                "As an administrator, in this database: GRANT ALL ON SCHEMA public TO the user of DATABASE_URL "
                "(since PostgreSQL 15 GRANT … ON DATABASE does not include it), or make that user its owner.",
            )
        else:
            report.warning(
                "schema",
                f"{len(pending)} migrations are pending",
                "offerhub migrate up (offerhub serve does it at its start, too).",
            )
        return False
    newer = [one for one in found if one.state == "newer"]
    report.ok("schema", f"migration {found[-1].version}" + (", newer than this program" if newer else ""))
    return True


async def _postgres_clock(report: Report, connection: "asyncpg.Connection[Any]", clock: Clock) -> None:
    before = clock.now()
    theirs: datetime = await connection.fetchval("SELECT clock_timestamp()")
    compare_clocks(report, "PostgreSQL's", before, theirs, clock.now())


def compare_clocks(report: Report, whose: str, before: datetime, theirs: datetime, after: datetime) -> None:
    """Whether another clock agrees with ours, which said `before` and `after` around asking it."""
    early, late = (before - theirs).total_seconds(), (theirs - after).total_seconds()
    apart = max(early, late, 0.0)
    if apart > CLOCK_SECONDS_MAX:
        report.failed(
            "clock",
            f"this machine's clock and {whose} are {apart:.0f} s apart",
            "Synchronise both with NTP (systemctl enable --now systemd-timesyncd, or chrony).",
        )
    else:
        report.ok("clock", f"agrees with {whose}")


async def examine_redis(report: Report, settings: Settings, clock: Clock) -> bool:
    """Whether Redis can be used."""
    url = settings.storage.redis_url.reveal()
    limits: dict[str, Any] = {
        "socket_timeout": ANSWER_SECONDS_MAX,
        "socket_connect_timeout": ANSWER_SECONDS_MAX,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": True,
    }
    async with contextlib.AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(redis.asyncio.Redis.from_url(url, **limits))
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                before = clock.now()
                seconds, microseconds = await client.time()
                after = clock.now()
                info: dict[str, Any] = await client.info()
        except (RedisError, OSError, ValueError) as error:
            report.failed("Redis", _words(error), await _redis_remedy(error, url))
            return False
    theirs = datetime.fromtimestamp(seconds + microseconds / 1e6, UTC)
    compare_clocks(report, "Redis's", before, theirs, after)
    return _redis_server(report, info)


def _redis_server(report: Report, info: dict[str, Any]) -> bool:
    version = str(info.get("redis_version", "0"))
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"version {version}"
    faults: list[tuple[str, str]] = []
    if int(version.split(".", maxsplit=1)[0]) < REDIS_MIN:
        faults.append((name, "Upgrade it to Redis 7 or newer, or to Valkey."))
    if info.get("role") in ("slave", "replica"):
        faults.append(("this server is a replica", "Lead REDIS_URL to the primary."))
    if info.get("maxmemory_policy", "noeviction") != "noeviction":
        faults.append(
            (
                f"it evicts keys when it is full (maxmemory-policy {info['maxmemory_policy']}): jobs would vanish",
                "CONFIG SET maxmemory-policy noeviction, and in its configuration, too.",
            )
        )
    for found, remedy in faults:
        report.failed("Redis", found, remedy)
    if not faults:
        report.ok("Redis", name)
    return not faults


async def _redis_remedy(error: Exception, url: str) -> str:
    text = str(error)
    parts = split_url(url)
    if isinstance(error, AuthenticationError) or (isinstance(error, ResponseError) and "AUTH" in text.upper()):
        return "Set the password of REDIS_URL right: redis://:password@host:6379, special characters as %40."
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "The certificate is not trusted: add ?ssl_ca_certs=/path/to/ca.pem, and use the name it is for."
    if parts is not None and parts.scheme == "rediss":
        return "Check host and port; if the server offers no TLS, write redis:// instead of rediss://."
    if parts is not None and await _speaks_tls(parts.hostname or "", parts.port or 6379):
        return "The server speaks TLS: write rediss:// instead of redis://."
    return "Check host and port of REDIS_URL, and that Redis runs and listens there."


async def _speaks_tls(host: str, port: int) -> bool:
    """Does a server answer a TLS handshake there?"""
    try:
        await certificate.shown(host, port, ANSWER_SECONDS_MAX)
    except ssl.SSLError as error:
        # A server that wants a certificate of ours has spoken TLS, too.
        return "CERTIFICATE" in str(error).upper()
    except OSError:
        return False
    return True


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
