"""Addresses that strangers give us to call, and the guard that keeps such calls out of our own network (SSRF).

Whoever may name a URL must not reach through us what only we can reach: this machine, its network, the metadata
service of a cloud. The guard stands at the one place that cannot be talked around, where the socket is made: it sees
the very address that is about to be connected to, whatever the name resolved to before and however the address was
written. A name that changes its address between two looks (DNS rebinding) therefore gains nothing. Checking the URL
itself comes earlier and is only for a clear refusal.

Special-purpose ranges: IANA's registries of IPv4 and IPv6 special-purpose addresses (RFC 6890).
"""

import errno
import ipaddress
import socket
from dataclasses import dataclass
from typing import Any, Final

from yarl import URL

PORT_MIN: Final = 1024
"""Below it only 443: other well-known ports speak other protocols."""
URL_CHARACTERS_MAX: Final = 2_000

_NO_URL: Final = "it is not an absolute URL of http or https"
# Beside what Python's tables call not global: they have changed between versions, and a guard should not.
_CLOSED: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # Azure's host, from inside of every virtual machine
        *("2001::/23", "2001:db8::/32", "3fff::/20"),
    )
)
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_6TO4: Final = ipaddress.IPv6Network("2002::/16")


class ForbiddenTarget(OSError):
    """The address is not one on the public Internet."""


def is_public(text: str) -> bool:
    """True for an address on the public Internet; false for every other, and for what is no address at all.

    An IPv6 address that stands for an IPv4 one (mapped, NAT64, 6to4) is as public as that.

    >>> is_public("93.184.215.14"), is_public("169.254.169.254"), is_public("::ffff:127.0.0.1"), is_public("127.1")
    (True, False, False, False)
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return is_public(str(inner))
        if address not in _GLOBAL_UNICAST or address.scope_id is not None:
            return False
    return address.is_global and not any(address in network for network in _CLOSED)


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour if address in _6TO4 else None


@dataclass(frozen=True, slots=True)
class Targets:
    """Which addresses may be called: with `public_only`, https to the public Internet; else any http or https."""

    public_only: bool

    def refusal(self, text: str) -> str | None:
        """Why this URL may not be called, None when it may as far as it can be told without looking up its name."""
        if len(text) > URL_CHARACTERS_MAX:
            return f"it has more than {URL_CHARACTERS_MAX} characters"
        try:
            url = URL(text)
            host, port = url.host, url.port
        except ValueError:
            return _NO_URL
        if " " in text or not text.isprintable() or url.scheme not in ("http", "https") or not host:
            return _NO_URL
        if url.user is not None or url.password is not None or url.raw_fragment:
            return "it has a user, a password or a fragment in it"
        return self._closed(url.scheme, host, port) if self.public_only else None

    def _closed(self, scheme: str, host: str, port: int | None) -> str | None:
        if scheme != "https":
            return "it is not https"
        if port != 443 and (port is None or port < PORT_MIN):
            return f"its port is neither 443 nor {PORT_MIN} or above"
        name = host.rstrip(".").lower()
        if name == "localhost" or name.endswith((".localhost", ".local", ".internal")):
            return "it names a machine of a private network"
        # What looks like an address is connected to as it stands, without a resolver in between.
        if (":" in host or name.replace(".", "").isdigit()) and not is_public(host):
            return "its address is not on the public Internet"
        return None

    def socket(self, addrinfo: tuple[Any, ...]) -> socket.socket:
        """The socket for a connection to this address; aiohttp's connectors ask for it. Raises ForbiddenTarget."""
        family, kind, protocol, _, address = addrinfo
        if self.public_only and not is_public(address[0]):
            raise ForbiddenTarget(errno.EACCES, f"{address[0]} is not on the public Internet")
        return socket.socket(family=family, type=kind, proto=protocol)
