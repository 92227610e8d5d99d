"""What lies in the queue, and what the queue says about itself. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

STREAM = "pipeline:events"
DEAD_STREAM = "pipeline:dead"
GROUP = "dispatcher"


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted event as it lies in the queue."""

    id: str  # the stream's id, "<unix ms>-<number>": what `settle` wants
    shard: str
    event_id: str  # 32 hex digits
    source_id: int
    key: str  # idempotency key, 1 to 255 characters
    event_type: str
    content_type: str
    received_ms: int  # unix time
    body: bytes
    deliveries: int  # 1 the first time it is read
    secret_id: int | None = None  # the signing secret that verified it
    quarantine: str = ""  # why it must wait for a person; '' where it need not


@dataclass(frozen=True, slots=True)
class Depth:
    """How much waits in one shard."""

    length: int  # not settled: undelivered and pending; where `lag` is unknown, at most so many
    lag: int | None  # not delivered to any dispatcher yet; None: the server can't tell
    pending: int  # delivered, not settled
    buried: int


@dataclass(frozen=True, slots=True)
class ShardDepth:
    """The depth of a shard by name; `depth` is None where the server did not answer, see `why`."""

    shard: str
    depth: Depth | None
    why: str = ""
    is_draining: bool = False  # it takes no events any more


@dataclass(frozen=True, slots=True)
class Durability:
    """Whether an acknowledged event of this shard is on disk, and the sentence if it is not."""

    shard: str
    ok: bool
    why: str = ""
    is_draining: bool = False  # it takes no events any more


Values = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes]
"""event id (32 hex digits), source id, key, event type, content type, received ms, body, id of the
secret that verified it or b"", why it is quarantined or b"", digest of the body"""

# The fields of an entry that came before they were packed, in the order of `Values`. What is
# moved aside is written so too.
_NAMES = (b"e", b"s", b"k", b"t", b"c", b"r", b"b", b"v", b"q")
_PACKED = b"m"
_unpack = msgspec.msgpack.Decoder(list[bytes]).decode


def pack(values: Values) -> bytes:
    """What the stream holds of an event: MessagePack, an array of all values but the digest.

    As fields of their own they cost the queue server half as much again (measured).
    """
    return msgspec.msgpack.encode(values[:-1])


def parse_entry(
    shard: str, stream_id: bytes, fields: Mapping[bytes, bytes], deliveries: int
) -> Entry:
    """The entry of a stream's id and fields, as the server sent them.

    Raises KeyError or ValueError where somebody else has written them.
    """
    if packed := fields.get(_PACKED):
        fields = dict(zip(_NAMES, _unpack(packed), strict=True))
    return Entry(
        id=stream_id.decode("ascii"),
        shard=shard,
        event_id=fields[b"e"].decode("ascii"),
        source_id=int(fields[b"s"]),
        key=fields[b"k"].decode(),
        event_type=fields[b"t"].decode(),
        content_type=fields[b"c"].decode(),
        received_ms=int(fields[b"r"]),
        body=fields[b"b"],
        deliveries=deliveries,
        # Entries of releases before these two existed lack them.
        secret_id=int(secret) if (secret := fields.get(b"v")) else None,
        quarantine=fields.get(b"q", b"").decode(),
    )
