"""Servers that speak TLS, on loopback, with certificates of the tests' own."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import os
import pwd
import secrets
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from support.fleet import free_port
from support.outside import PATIENCE_SECONDS

USER: Final = "offerhub"


@dataclass(frozen=True)
class Certificates:
    """An authority that nobody trusts unless told so, and a certificate of its for localhost and 127.0.0.1."""

    authority: Path
    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """What a server shows."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def make_certificates(folder: Path) -> Certificates:
    """Make them, valid for a day."""
    now = dt.datetime.now(dt.UTC)

    def certificate(
        name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, *, is_ca: bool
    ) -> bytes:
        names = [
            x509.DNSName("localhost"),
            x509.DNSName("your-domain.com"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if not is_ca:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)

    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    made.authority.write_bytes(certificate("tests", root, "tests", root, is_ca=True))
    made.certificate.write_bytes(certificate("localhost", leaf, "tests", root, is_ca=False))
    made.key.write_bytes(leaf.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    made.key.chmod(0o600)
    return made


class TlsFront:
    """Ends TLS in front of a server that has none (the embedded Valkey is built without), as stunnel does."""

    def __init__(self, url: str, certificates: Certificates) -> None:
        parts = urlsplit(url)
        self._upstream = (str(parts.hostname), int(parts.port or 0))
        self._parts = parts
        self._context = certificates.context()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._context)

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """Its `rediss://` URL."""
        credentials = self._parts.netloc.rpartition("@")[0]
        netloc = f"{credentials}@127.0.0.1:{self.port}"
        return urlunsplit(self._parts._replace(scheme="rediss", netloc=netloc.removeprefix("@")))

    async def stop(self) -> None:
        """Drop every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._upstream)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._carry(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(65536):
                sink.write(piece)
                await sink.drain()
        sink.close()


def system_postgres() -> Path | None:
    """The programs of an installed PostgreSQL, which has TLS, unlike the embedded one; the newest there is."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else None


class TlsPostgres:
    """A PostgreSQL that takes connections with TLS alone (`hostssl`), in a folder of its own."""

    def __init__(self, programs: Path, folder: Path, certificates: Certificates) -> None:
        self._programs = programs
        self._folder = folder / "tls-postgres"
        self._certificates = certificates
        self.port = free_port()
        self.password = secrets.token_urlsafe(12)
        account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._as: dict[str, Any] = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid}
        if account is not None:
            self._as["extra_groups"] = []
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of the database `offerhub`, with TLS required and nothing verified."""
        return f"postgresql://{USER}:{self.password}@localhost:{self.port}/offerhub?sslmode=require"

    async def start(self) -> None:
        """Make it, start it, and return once it takes connections."""
        await asyncio.to_thread(self._make)
        self._process = await asyncio.to_thread(self._spawn)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                assert self._process.poll() is None, "PostgreSQL did not start"
                try:
                    connection = await asyncpg.connect(self.url.replace("/offerhub?", "/postgres?"))
                except (OSError, asyncpg.PostgresError):
                    await asyncio.sleep(0.05)
                else:
                    break
        await connection.execute("CREATE DATABASE offerhub")
        await connection.close()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        nothing = subprocess.DEVNULL
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        return subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, cwd="/", **self._as)

    def _make(self) -> None:
        self._folder.mkdir()
        data = self._folder / "data"
        for source, name in ((self._certificates.certificate, "server.crt"), (self._certificates.key, "server.key")):
            shutil.copy(source, self._folder / name)
            (self._folder / name).chmod(0o600)
        (self._folder / "password").write_text(self.password)
        if self._account is not None:
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, self._account.pw_uid, self._account.pw_gid)
        initdb = (str(self._programs / "initdb"), "-D", str(data), "-U", USER, "--encoding=UTF8", "--locale=C.UTF-8")
        options = ("--auth=scram-sha-256", f"--pwfile={self._folder / 'password'}", "--no-sync")
        subprocess.run([*initdb, *options], check=True, capture_output=True, cwd="/", **self._as)
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
        with (data / "postgresql.conf").open("a") as file:
            file.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\nfsync = off\n"
                f"ssl = on\nssl_cert_file = '{self._folder}/server.crt'\nssl_key_file = '{self._folder}/server.key'\n"
            )

    async def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self._process = None


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for this run."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def tls_folder() -> Path:
    """A folder that a server may enter which runs as somebody else, because we are root."""
    folder = Path(tempfile.mkdtemp(prefix="offerhub-tls-"))
    folder.chmod(0o711)
    return folder


@pytest.fixture(scope="session")
async def tls_postgres(certificates: Certificates) -> AsyncIterator[TlsPostgres]:
    """An empty PostgreSQL that insists on TLS, for this run."""
    programs = system_postgres()
    if programs is None:
        pytest.skip("needs a PostgreSQL with TLS: apt-get install postgresql")
    folder = tls_folder()
    server = TlsPostgres(programs, folder, certificates)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
async def tls_redis(redis_url: str, certificates: Certificates) -> AsyncIterator[TlsFront]:
    """The run's Redis, behind TLS."""
    front = TlsFront(redis_url, certificates)
    await front.start()
    yield front
    await front.stop()
