"""PostgreSQL and Redis over TLS: what the URLs say is what happens, for every client that a process has."""

import ssl
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from offerhub import parts
from offerhub.runtime.database import Database
from offerhub.runtime.migrations import migrate, read_migrations
from offerhub.runtime.queue import Queues, QueueUnavailable
from offerhub.settings import Settings, load
from support.tls import Certificates, TlsFront, TlsPostgres, make_certificates


def settings(database_url: str = "", redis_url: str = "") -> Settings:
    return load({"OFFERHUB_MASTER_KEY": "tests", "DATABASE_URL": database_url, "REDIS_URL": redis_url})


async def encryption(url: str) -> str | None:
    """The version of TLS that a connection of the product's pool has."""
    database = await Database.connect(settings(url).storage.database_url.reveal(), pool_size=1)
    try:
        sql = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        found: str | None = await database.run(lambda tx: tx.value(sql), read_only=True)
        return found
    finally:
        await database.close()


async def test_postgresql_with_sslmode_require(tls_postgres: TlsPostgres) -> None:
    assert str(await encryption(tls_postgres.url)).startswith("TLSv1.")
    applied = await migrate(tls_postgres.url)
    assert len(applied) in (0, len(read_migrations()))


async def test_postgresql_is_verified_when_the_url_says_so(
    tls_postgres: TlsPostgres, certificates: Certificates, tmp_path: Path
) -> None:
    verified = tls_postgres.url.replace("sslmode=require", "sslmode=verify-full")
    trusted = f"{verified}&sslrootcert={quote(str(certificates.authority), safe='/')}"
    assert str(await encryption(trusted)).startswith("TLSv1.")
    strangers = make_certificates(tmp_path).authority
    with pytest.raises(ssl.SSLCertVerificationError):
        await encryption(f"{verified}&sslrootcert={quote(str(strangers), safe='/')}")


async def test_postgresql_that_insists_on_tls_refuses_without(tls_postgres: TlsPostgres) -> None:
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="no encryption"):
        await encryption(tls_postgres.url.replace("sslmode=require", "sslmode=disable"))


async def test_postgresql_without_tls_is_not_spoken_to_in_clear(fresh_database_url: str) -> None:
    with pytest.raises(ConnectionError, match="SSL upgrade"):
        await encryption(fresh_database_url.replace("sslmode=disable", "sslmode=require"))


async def test_redis_over_tls(tls_redis: TlsFront, certificates: Certificates) -> None:
    trusted = f"{tls_redis.url}?ssl_ca_certs={certificates.authority}"
    client = parts.prompt_redis(settings(redis_url=trusted))
    assert await client.ping()
    await client.aclose()
    queues = Queues(trusted)
    assert "waiting" in await queues.counts("sagas")
    await queues.close()


async def test_redis_whose_certificate_nobody_signed_is_refused(tls_redis: TlsFront) -> None:
    client = parts.prompt_redis(settings(redis_url=tls_redis.url))
    with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        await client.ping()
    await client.aclose()
    queues = Queues(tls_redis.url)
    with pytest.raises(QueueUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await queues.counts("sagas")
    await queues.close()


async def test_redis_in_clear_does_not_reach_a_server_that_speaks_tls(tls_redis: TlsFront) -> None:
    client = parts.prompt_redis(settings(redis_url=tls_redis.url.replace("rediss://", "redis://")))
    with pytest.raises((RedisConnectionError, OSError)):
        await client.ping()
    await client.aclose()
