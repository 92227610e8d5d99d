"""Whose request is it? Proxies that were named are believed, nobody else."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from apps.ingest.peer import MAX_HOPS, Client, Proxies, get_rate_key, read_address

PROXY: Client = ("10.0.0.1", 4711)
STRANGER: Client = ("203.0.113.9", 4711)
proxies = Proxies("10.0.0.1, 10.1.0.0/16, 2001:db8:ffff::/48, proxy.example.com,")


def find(client: Client, *lists: str, name: str = "x-forwarded-for") -> str:
    headers = [(name.encode(), value.encode("latin-1")) for value in lists]
    return str(proxies.find_sender(client, headers))


def test_the_address_of_the_connection_is_the_senders() -> None:
    assert find(STRANGER) == "203.0.113.9"
    assert find(PROXY) == "10.0.0.1"


def test_a_stranger_is_not_believed() -> None:
    assert find(STRANGER, "198.51.100.1") == "203.0.113.9"


def test_a_proxy_is_believed() -> None:
    assert find(PROXY, "198.51.100.1") == "198.51.100.1"


def test_what_the_sender_wrote_left_of_its_own_address_is_not_read() -> None:
    assert find(PROXY, "127.0.0.1, 10.0.0.1, 198.51.100.1") == "198.51.100.1"


def test_the_list_is_read_through_all_proxies() -> None:
    assert find(PROXY, "1.1.1.1, 198.51.100.1, 10.1.2.3, 2001:db8:ffff::1") == "198.51.100.1"


def test_several_headers_are_one_list_in_their_order() -> None:
    assert find(PROXY, "1.1.1.1", "198.51.100.1") == "198.51.100.1"
    assert find(PROXY, "198.51.100.1", "10.1.2.3") == "198.51.100.1"


def test_a_list_of_proxies_alone_ends_at_the_first_of_them() -> None:
    assert find(PROXY, "10.1.0.1, 10.1.0.2") == "10.1.0.1"


@pytest.mark.parametrize("name", ["x_forwarded_for", "forwarded", "x-real-ip", "x-forwarded"])
def test_no_other_name_is_read(name: str) -> None:
    assert find(PROXY, "for=198.51.100.1, 198.51.100.1", name=name) == "10.0.0.1"


@pytest.mark.parametrize("last", ["unknown", "_hidden", "", "999.1.1.1", "1.1.1.1 2.2.2.2", "\xff"])
def test_what_is_no_address_is_nobodys(last: str) -> None:
    assert find(PROXY, f"198.51.100.1, {last}") == "None"


def test_a_unix_socket_has_no_address_and_is_not_believed() -> None:
    assert find(None) == "None"
    assert find(None, "198.51.100.1") == "None"


def test_everybody_is_believed_only_where_the_setting_says_so() -> None:
    headers = [(b"x-forwarded-for", b"1.1.1.1, 198.51.100.1")]
    assert str(Proxies("*").find_sender(STRANGER, headers)) == "1.1.1.1"
    assert str(Proxies("*").find_sender(None, headers)) == "1.1.1.1"
    assert str(Proxies("").find_sender(PROXY, headers)) == "10.0.0.1"


def test_a_list_without_end_costs_little() -> None:
    assert find(PROXY, ", ".join(["1.1.1.1", *["10.0.0.1"] * MAX_HOPS])) == "10.0.0.1"
    assert find(PROXY, ",".join(["10.0.0.1"] * 10_000)) == "10.0.0.1"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1:8080 ", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_is_read_in_every_spelling(text: str, address: str) -> None:
    assert read_address(text) == ip_address(address)


@pytest.mark.parametrize(
    "text", ["", "localhost", "192.0.2", "192.0.2.01", "1.1.1.1:x:y", "[", "٣.1.1.1"]
)
def test_anything_else_is_no_address(text: str) -> None:
    assert read_address(text) is None


def test_a_sender_of_ipv6_is_counted_by_its_network() -> None:
    assert get_rate_key(ip_address("2001:db8::1")) == get_rate_key(ip_address("2001:db8::2"))
    assert get_rate_key(ip_address("2001:db8::1")) != get_rate_key(ip_address("2001:db8:0:1::1"))
    assert get_rate_key(ip_address("192.0.2.1")) != get_rate_key(ip_address("192.0.2.2"))
    assert get_rate_key(None) == "unknown"
