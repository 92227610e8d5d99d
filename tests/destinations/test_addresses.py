"""Which addresses destinations may have."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

import pytest

from apps.destinations.addresses import is_in, is_public, read_networks
from apps.destinations.egress import EgressError, EgressRefused, check_url, post
from tests.fixtures.fake_destination import FakeDestination

TIMEOUT_S = 3.0


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
        *("224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "192.0.2.1"),
        *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe"),
        *("fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1"),
        *("64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2001::1"),
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_a_public_address_is_taken(address: str) -> None:
    assert is_public(ip_address(address))


def test_an_allowed_network_holds_its_addresses_in_every_spelling() -> None:
    networks = read_networks(["10.1.0.0/16", "fd00::/8", "127.0.0.1"])
    assert is_in(ip_address("10.1.2.3"), networks)
    assert is_in(ip_address("::ffff:10.1.2.3"), networks)
    assert is_in(ip_address("fd12::1"), networks)
    assert not is_in(ip_address("10.2.0.1"), networks)
    assert not is_in(ip_address("::1"), networks)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "2130706433", "0177.0.0.1", "0x7f000001"),
        *("127.1", "[::1]", "[::ffff:127.0.0.1]", "0", "0.0.0.0", "①②⑦.0.0.1"),
    ],
)
def test_every_spelling_of_this_machine_is_refused(
    host: str, fake_destination: FakeDestination, settings: Any
) -> None:
    settings.EGRESS_ALLOW = []
    with pytest.raises(EgressRefused, match="EGRESS_ALLOW"):
        post(f"http://{host}:{fake_destination.port}/", b"{}", {}, TIMEOUT_S)
    assert fake_destination.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        *("", "no address", "ftp://example.com/", "file:///etc/passwd", "//example.com", "http://"),
        *("https://user:pw@example.com/", "http://example.com:99999/", "gopher://x", "http://["),
        *("http://user@example.com", "http://" + "a" * 70 + ".com/", "https://e.com/" + "x" * 3000),
    ],
)
def test_an_address_that_can_not_be_one_is_refused_when_it_is_saved(url: str) -> None:
    with pytest.raises(EgressRefused):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "http://example.com:8080/a?b=c",
        "https://bücher.example/ä",
        "http://[::1]/",
    ],
)
def test_an_address_passes_when_it_can_be_one(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize("port", [22, 25, 6379 - 5400])
def test_ports_of_other_services_are_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_names(monkeypatch, ["93.184.216.34"])
    with pytest.raises(EgressRefused, match="Port"):
        post(f"http://example.test:{port}/", b"{}", {}, TIMEOUT_S)


def answer_names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """A name server whose answer changes with every question; the last one stays."""
    asked: list[str] = []

    def getaddrinfo(host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        try:
            addresses = [str(ip_address(host))]  # a number needs no name server
        except ValueError:
            addresses = answers[min(len(asked), len(answers) - 1)]
            asked.append(host)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_the_checked_address_is_the_one_connected_to(
    fake_destination: FakeDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rebinding: allowed when it is checked, elsewhere when anybody asks again.
    asked = answer_names(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    reply = post(f"http://rebind.test:{fake_destination.port}/", b"{}", {}, TIMEOUT_S)
    assert reply.status == 200
    assert asked == ["rebind.test"]
    assert fake_destination.deliveries[0].headers["host"] == f"rebind.test:{fake_destination.port}"


def test_a_name_with_one_private_address_among_public_ones_is_refused(
    fake_destination: FakeDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_names(monkeypatch, ["127.0.0.1", "10.0.0.1"])
    with pytest.raises(EgressRefused, match=r"10\.0\.0\.1"):
        post(f"http://mixed.test:{fake_destination.port}/", b"{}", {}, TIMEOUT_S)
    assert fake_destination.connections == 0


def test_a_name_that_does_not_exist_may_exist_later() -> None:
    with pytest.raises(EgressError) as caught:
        post("http://nowhere.invalid/", b"{}", {}, TIMEOUT_S)
    assert not caught.value.permanent


def test_the_environment_names_no_proxy(
    fake_destination: FakeDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert post(fake_destination.url, b"{}", {}, TIMEOUT_S).status == 200
