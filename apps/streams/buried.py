"""Entries that the dispatcher moved aside because they could not be stored."""

from __future__ import annotations

from dataclasses import dataclass, field

from apps.streams import scripts
from apps.streams.addresses import get_all_addresses
from apps.streams.clients import get_client
from apps.streams.entries import DEAD_STREAM, STREAM
from apps.streams.errors import QueueError, translated

BATCH = 1000  # entries of a shard in one request


@dataclass(slots=True)
class Unburied:
    """How many entries were given back, and the names of the shards that did not answer."""

    given: int = 0
    unreached: list[str] = field(default_factory=list)


def unbury() -> Unburied:
    """Give up to 1,000 of each shard to the dispatcher again. Raises QueueError where no shard
    answers; one that is down keeps its own.

    The database ignores one that it has meanwhile, so that doing it twice does no harm.
    """
    outcome = Unburied()
    addresses = get_all_addresses()
    for address in addresses:
        try:
            outcome.given += _unbury(address.url)
        except QueueError:
            outcome.unreached.append(address.name)
            if len(outcome.unreached) == len(addresses):
                raise
    return outcome


def _unbury(url: str) -> int:
    with translated():
        return int(get_client(url).eval(scripts.UNBURY, 2, DEAD_STREAM, STREAM, str(BATCH)))
