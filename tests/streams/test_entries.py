"""What lies in the stream is read again, also what an earlier release wrote."""

from __future__ import annotations

import pytest

from apps.streams.entries import Entry, Values, pack, parse_entry

VALUES: Values = (
    *(b"0" * 32, b"7", "schlüssel".encode(), b"a.b", b"application/json", b"1700000000000"),
    *(b"\x00\xff{}", b"3", b"too deep", b"digest.."),
)
ENTRY = Entry(
    id="1-0",
    shard="0",
    event_id="0" * 32,
    source_id=7,
    key="schlüssel",
    event_type="a.b",
    content_type="application/json",
    received_ms=1_700_000_000_000,
    body=b"\x00\xff{}",
    deliveries=2,
    secret_id=3,
    quarantine="too deep",
)


def test_a_packed_entry_is_read() -> None:
    assert parse_entry("0", b"1-0", {b"m": pack(VALUES)}, 2) == ENTRY


def test_an_entry_of_fields_is_read() -> None:
    fields = dict(zip([name.encode() for name in "esktcrbvq"], VALUES, strict=False))
    assert parse_entry("0", b"1-0", fields, 2) == ENTRY


@pytest.mark.parametrize("packed", [b"", b"\x00", b"\x91\xc4\x01a", b"no", pack(VALUES)[:-1]])
def test_what_somebody_else_wrote_is_an_error(packed: bytes) -> None:
    with pytest.raises((KeyError, ValueError)):
        parse_entry("0", b"1-0", {b"m": packed}, 1)
