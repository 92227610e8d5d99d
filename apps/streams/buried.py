"""Entries that the dispatcher moved aside because they could not be stored."""

from __future__ import annotations

from django.conf import settings

from apps.streams import scripts
from apps.streams.clients import get_client
from apps.streams.entries import DEAD_STREAM, STREAM
from apps.streams.errors import translated

BATCH = 1000  # entries of a shard in one request


def count_buried() -> int:
    """How many lie aside, over all shards; raises QueueError where a shard does not answer."""
    with translated():
        return sum(int(get_client(url).xlen(DEAD_STREAM)) for url in settings.QUEUE_URLS)


def unbury() -> int:
    """Give up to 1,000 of each shard to the dispatcher again; how many. Raises QueueError.

    The database ignores one that it has meanwhile, so that doing it twice does no harm.
    """
    with translated():
        return sum(
            int(get_client(url).eval(scripts.UNBURY, 2, DEAD_STREAM, STREAM, str(BATCH)))
            for url in settings.QUEUE_URLS
        )
