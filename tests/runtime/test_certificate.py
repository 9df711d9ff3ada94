"""The age of a certificate, asked of a real TLS server."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from offerhub.kernel.clock import ManualClock
from offerhub.runtime.certificate import valid_seconds

DAY = 86400


@pytest.fixture
async def tls_port(tmp_path: Path) -> AsyncIterator[int]:
    """A server whose certificate nobody has signed; it is valid for ten days of ManualClock's beginning."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "payments.example")])
    began = ManualClock().now()
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(began - timedelta(days=80))
        .not_valid_after(began + timedelta(days=10))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    file = tmp_path / "server.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + made.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_it_is_told_until_when_and_since_when(tls_port: int) -> None:
    clock, url = ManualClock(), f"https://127.0.0.1:{tls_port}"
    assert await valid_seconds(url, clock) == 10 * DAY
    clock.advance(11 * DAY)
    assert await valid_seconds(url, clock) == -DAY


async def test_what_cannot_be_asked_has_no_age(tls_port: int) -> None:
    assert await valid_seconds(f"http://127.0.0.1:{tls_port}", ManualClock()) is None
    assert await valid_seconds("https://127.0.0.1:9", ManualClock()) is None
