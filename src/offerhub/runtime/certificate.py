"""How long the certificate that a server shows is still valid, whoever has signed it."""

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

    None for an address without TLS, and while it cannot be reached from here. Nothing is sent but the handshake, and
    nothing of the answer is trusted, so an expired or foreign certificate is told of as well.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        return None
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(SECONDS_MAX):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or _PORT, ssl=context)
    except OSError:  # also what TLS refuses, and the time-out
        return None
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return (x509.load_der_x509_certificate(shown).not_valid_after_utc - clock.now()).total_seconds()
