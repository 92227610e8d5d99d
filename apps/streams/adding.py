"""Appends one event from code that is not asynchronous: a page that takes a kept request in."""

from __future__ import annotations

from django.conf import settings

from apps.streams import scripts
from apps.streams.addresses import get_addresses
from apps.streams.clients import get_client
from apps.streams.durability import ask_shard
from apps.streams.entries import STREAM, Values, pack
from apps.streams.errors import QueueDown, QueueNotDurable, translated
from apps.streams.placement import Placement


def add(slug: bytes, ordering_key: bytes, dedup_key: bytes, values: Values) -> bytes:
    """Append an event on its shard, as ingest does: b"", or the id (32 hex digits) of the event
    that had this dedup key before. It is on disk then.

    Raises QueueError; after QueueDown the event may be there or not, and the same call again
    finds out.
    """
    addresses = get_addresses()
    number = Placement([address.name for address in addresses]).find(slug, ordering_key)
    address = addresses[number]
    verdict = ask_shard(address)
    if not verdict.ok:
        raise QueueNotDurable(verdict.why)
    with translated():
        answer = get_client(address.url).eval(
            scripts.APPEND,
            2,
            STREAM,
            dedup_key,
            settings.DEDUP_TTL_S,
            values[0] + values[-1],
            pack(values),
        )
    if not isinstance(answer, list) or len(answer) != 1:
        raise QueueDown("The queue server answered what it should not.")
    return bytes(answer[0])
