"""The certificate that a server shows, whoever has signed it, and how long it is still valid."""

import asyncio
import contextlib
import ssl
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from offerhub.kernel.clock import Clock

SECONDS_MAX: Final = 4.0
_PORT: Final = 443


async def valid_seconds(url: str, clock: Clock) -> float | None:
    """Seconds until the certificate behind an https address expires, negative once it has.

    None for an address without TLS, and while it cannot be reached from here.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        return None
    try:
        certificate = await shown(parts.hostname, parts.port or _PORT, SECONDS_MAX)
    except OSError:
        return None
    return (x509.load_der_x509_certificate(certificate).not_valid_after_utc - clock.now()).total_seconds()


async def shown(host: str, port: int, seconds_max: float) -> bytes:
    """What a server shows in a TLS handshake, as DER, be it expired or a stranger's.

    Nothing is sent but the handshake, and nothing of the answer is trusted. Raises OSError, of which what TLS refuses
    and the time-out are kinds.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with asyncio.timeout(seconds_max):
        _, writer = await asyncio.open_connection(host, port, ssl=context, ssl_shutdown_timeout=seconds_max)
    try:
        certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return certificate
