"""How much waits in the queue, for tasks and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings

from apps.streams.clients import get_client
from apps.streams.entries import DEAD_STREAM, GROUP, STREAM, Depth, ShardDepth
from apps.streams.errors import QueueError, translated


def get_depths() -> list[ShardDepth]:
    """The depth of every shard; never raises for a server that is down."""
    return [_get_depth(str(number), url) for number, url in enumerate(settings.QUEUE_URLS)]


def _get_depth(shard: str, url: str) -> ShardDepth:
    client = get_client(url)
    try:
        with translated():
            with client.pipeline(transaction=True) as pipe:
                pipe.exists(STREAM)
                pipe.xlen(STREAM)
                pipe.xlen(DEAD_STREAM)
                counts = pipe.execute()
            groups = client.xinfo_groups(STREAM) if counts[0] else []
    except QueueError as error:
        return ShardDepth(shard, None, str(error))
    return ShardDepth(shard, parse_depth(length=counts[1], buried=counts[2], groups=groups))


def parse_depth(*, length: int, buried: int, groups: Sequence[Mapping[str, Any]]) -> Depth:
    """The depth from XLEN of both streams and XINFO GROUPS.

    Without a group nothing was delivered yet, and so nothing was settled.
    """
    name = GROUP.encode()
    group = next((group for group in groups if group["name"] in (name, GROUP)), None)
    if group is None:
        return Depth(length=length, lag=length, pending=0, buried=buried)
    pending, lag = int(group["pending"]), group.get("lag")
    if lag is None:
        return Depth(length=length, lag=None, pending=pending, buried=buried)
    return Depth(length=int(lag) + pending, lag=int(lag), pending=pending, buried=buried)
