"""How an event lies in a spool file, and what can still be read of a damaged one."""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from apps.streams.entries import Values

MARKER = b"\xf5ev\n"
HEADER = struct.Struct("<4sI8s")  # marker, bytes that follow, their digest
LENGTHS = struct.Struct("<13I")
KEY_BYTES = 16
DIGEST_BYTES = 8


class Record(NamedTuple):
    """An event on its way to the queue. Its shard is chosen again when it is fed."""

    slug: bytes
    ordering_key: bytes
    dedup_key: bytes
    values: Values

    @property
    def event_id(self) -> bytes:
        return self.values[0]

    @property
    def body_digest(self) -> bytes:
        return self.values[-1]

    @property
    def size(self) -> int:
        """Bytes that it takes on disk."""
        pieces = len(self.slug) + len(self.ordering_key) + len(self.dedup_key)
        return HEADER.size + LENGTHS.size + pieces + sum(map(len, self.values))


class Found(NamedTuple):
    """A whole record, and where it ends in its file."""

    record: Record
    end: int


class Contents(NamedTuple):
    """What a file holds. `end` is where its last whole record ends: what follows was cut off in
    the writing. `damage` is how many bytes before that can't be read.
    """

    found: list[Found]
    end: int
    damage: int


def encode(record: Record, key: bytes) -> bytes:
    """The record as it is written; `key` is its file's."""
    pieces = (record.slug, record.ordering_key, record.dedup_key, *record.values)
    payload = LENGTHS.pack(*map(len, pieces)) + b"".join(pieces)
    return HEADER.pack(MARKER, len(payload), _digest(payload, key)) + payload


def read(data: bytes, key: bytes, start: int = 0) -> Contents:
    """All whole records of a file's bytes; `start` is where in the file they begin.

    Behind damage the search goes on at the next marker. A body that imitates a record is not
    mistaken for one: the digest is keyed, and each file has a key of its own.
    """
    found: list[Found] = []
    at = end = damage = 0
    while 0 <= at < len(data):
        record = _decode(data, at, key)
        if record is None:
            at = data.find(MARKER, at + 1)
            continue
        damage += at - end
        at = end = at + record.size
        found.append(Found(record, start + end))
    return Contents(found, start + end, damage)


def _decode(data: bytes, at: int, key: bytes) -> Record | None:
    begin = at + HEADER.size
    if len(data) < begin + LENGTHS.size:
        return None
    marker, length, digest = HEADER.unpack_from(data, at)
    if marker != MARKER or length < LENGTHS.size or len(data) < begin + length:
        return None
    lengths = LENGTHS.unpack_from(data, begin)
    if LENGTHS.size + sum(lengths) != length:
        return None
    if _digest(data[begin : begin + length], key) != digest:
        return None
    pieces: list[bytes] = []
    at = begin + LENGTHS.size
    for size in lengths:
        pieces.append(data[at : at + size])
        at += size
    slug, ordering_key, dedup_key, *values = pieces
    return Record(slug, ordering_key, dedup_key, tuple(values))  # type: ignore[arg-type]


def _digest(payload: bytes, key: bytes) -> bytes:
    return blake2b(payload, digest_size=DIGEST_BYTES, key=key).digest()
