"""Which addresses a destination may have: public ones, and those of EGRESS_ALLOW."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address
Network = Any  # IPv4Network | IPv6Network: `in` takes either version

NAT64 = IPv6Network("64:ff9b::/96")
EMBEDDING = (IPv6Network("::/96"), IPv6Network("2002::/16"), IPv6Network("2001::/32"))
METADATA = {IPv4Address("168.63.129.16"), IPv4Address("192.0.0.192")}  # public, yet a cloud's own


def resolve(host: str, port: int) -> list[Address]:
    """Every address of the host, in the resolver's order; raises OSError or UnicodeError.

    The system's resolver also reads numbers such as 2130706433 or 0177.0.0.1, so those come out
    as the addresses that they mean.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return list(dict.fromkeys(addresses))


def read_networks(words: Iterable[str]) -> list[Network]:
    """The networks of EGRESS_ALLOW; raises ValueError naming the word that is none."""
    return [ip_network(word, strict=False) for word in words]


def is_in(address: Address, networks: Iterable[Network]) -> bool:
    """Whether one of the networks holds the address, or the IPv4 address inside it."""
    inner = unwrap(address)
    return any(address in network or inner in network for network in networks)


def is_public(address: Address) -> bool:
    """Whether the address is one that anybody on the internet could reach, and one host's."""
    inner = unwrap(address)
    if isinstance(inner, IPv6Address) and any(inner in network for network in EMBEDDING):
        return False  # old tunnels, which carry an address that we would not see
    if inner in METADATA or inner.is_multicast or inner.is_reserved:
        return False
    if isinstance(inner, IPv6Address) and inner.is_site_local:
        return False
    return inner.is_global


def unwrap(address: Address) -> Address:
    """The IPv4 address inside an IPv4-mapped or NAT64 address, else the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
