"""The sender's address: of the connection, or as trusted proxies tell it.

Proxies of FORWARDED_ALLOW_IPS are believed, and nobody else: each appends the address it saw to
X-Forwarded-For, so that the list is read from the right, through the proxies, to the first address
that is none of them. What stands left of it was written by the sender. `Forwarded` is not read.
Nor is `X_Forwarded_For`: a name with an underscore is another name, here and for the schemes.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Sender = IPv4Address | IPv6Address
Client = tuple[str, int] | None
"""Address and port of a connection; None: a Unix socket."""

# No list of proxies is longer; what stands further left is the sender's own.
MAX_HOPS = 20
# Who has an IPv6 address usually has all of its /64.
IPV6_PREFIX = 64


class Proxies:
    """The proxies of a setting like "127.0.0.1, 10.0.0.0/8"; "*" believes everybody."""

    def __init__(self, setting: str) -> None:
        entries = [entry.strip() for entry in setting.split(",") if entry.strip()]
        self.trusts_all = "*" in entries
        networks = {entry: _network(entry) for entry in entries if entry != "*"}
        self._networks = [network for network in networks.values() if network]
        # What can't be compared with an address, such as a name.
        self.unknown = [entry for entry, network in networks.items() if network is None]

    def find_sender(self, client: Client, headers: Iterable[tuple[bytes, bytes]]) -> Sender | None:
        """The address of whoever sent a request with these headers (names in lower case, all of
        them, in order); None where nobody trusted knows it.
        """
        peer = read_address(client[0]) if client else None
        if not self._trusts(peer):
            return peer
        found = peer
        for hop in _read_hops(headers):
            found = read_address(hop)
            if not self._trusts(found):
                return found
        return found

    def _trusts(self, address: Sender | None) -> bool:
        if self.trusts_all:
            return True
        return address is not None and any(address in network for network in self._networks)


def read_address(text: str) -> Sender | None:
    """The address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:443`; None for
    anything else. An IPv4 address inside an IPv6 one is the IPv4 address.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def get_rate_key(sender: Sender | None) -> str:
    """By what the rate of one sender is counted."""
    if sender is None:
        return "unknown"
    if isinstance(sender, IPv6Address):
        return str(ip_network((sender, IPV6_PREFIX), strict=False))
    return str(sender)


def _read_hops(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The list of X-Forwarded-For from right to left; several such headers are one list."""
    values = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    hops = ",".join(values).rsplit(",", MAX_HOPS) if values else []
    return hops[::-1][:MAX_HOPS]


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(entry, strict=False)
    except ValueError:
        return None
