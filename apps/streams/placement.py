"""Which shard an event goes to.

A key falls into one of 4,096 slots by its checksum, and each slot belongs to the shard that draws
the highest number for it (rendezvous hashing). So all events of an ordering key go to one shard as
long as the shards stay the same, one that is added takes 1/n of the keys, and one that is removed
gives its own keys to the others: no other key moves. A look-up is one checksum, however many
shards there are.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Sequence
from hashlib import blake2b

SLOTS = 4096


class Placement:
    """The keys' places among shards of these names; their order does not matter."""

    __slots__ = ("_owners",)

    def __init__(self, names: Sequence[str]) -> None:
        prefixes = [name.encode() + b"\0" for name in names]
        self._owners = array("H", (_find_owner(prefixes, slot) for slot in range(SLOTS)))

    def find(self, slug: bytes, ordering_key: bytes) -> int:
        """The place in `names` of the shard for this source and ordering key."""
        return self._owners[zlib.crc32(ordering_key, zlib.crc32(slug)) % SLOTS]


def _find_owner(prefixes: Sequence[bytes], slot: int) -> int:
    draws = [blake2b(prefix + b"%d" % slot, digest_size=8).digest() for prefix in prefixes]
    return draws.index(max(draws))
