"""How much waits in the queue, for tasks and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apps.streams.addresses import Address, get_all_addresses
from apps.streams.asking import ASK_TIMEOUT_S, ask_all
from apps.streams.clients import get_client
from apps.streams.entries import DEAD_STREAM, GROUP, STREAM, Depth, ShardDepth
from apps.streams.errors import QueueError, translated


def get_depths() -> list[ShardDepth]:
    """The depth of every shard, drained ones too; never raises for a server that is down."""
    addresses = get_all_addresses()
    return [
        ShardDepth(address.name, None, str(answer), address.is_draining)
        if isinstance(answer, QueueError)
        else ShardDepth(address.name, answer, "", address.is_draining)
        for address, answer in zip(addresses, ask_all(addresses, _ask), strict=True)
    ]


def _ask(address: Address) -> Depth:
    client = get_client(address.url, ASK_TIMEOUT_S)
    with translated():
        with client.pipeline(transaction=True) as pipe:
            pipe.exists(STREAM)
            pipe.xlen(STREAM)
            pipe.xlen(DEAD_STREAM)
            counts = pipe.execute()
        groups = client.xinfo_groups(STREAM) if counts[0] else []
    return parse_depth(length=counts[1], buried=counts[2], groups=groups)


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
