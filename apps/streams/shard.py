"""One shard as the dispatcher sees it: read, reclaim, settle, bury, trim, depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from apps.streams import scripts
from apps.streams.addresses import get_all_addresses
from apps.streams.depth import parse_depth
from apps.streams.entries import DEAD_STREAM, GROUP, STREAM, Depth, Entry, parse_entry
from apps.streams.errors import translated

# Longer than any block_ms, shorter than `up` waits for a dispatcher to stop.
SOCKET_TIMEOUT_S = 3.0
CONNECT_TIMEOUT_S = 2.0


class Shard:
    """One stream and its group. Every method raises a `QueueError` where the server fails."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._redis = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # the dispatcher's loop tries again, and can be stopped
        )
        self._trim = self._redis.register_script(scripts.TRIM)
        self._claim_from = b"0-0"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def ensure_group(self) -> None:
        """Create the group where it is missing. It starts at the oldest entry that is there:
        whatever was delivered before comes again, and the database knows it."""
        with translated():
            try:
                await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
            except redis.exceptions.ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    async def read(self, consumer: str, count: int, block_ms: int) -> list[Entry]:
        """Up to `count` entries that nobody has read, oldest first; [] after `block_ms`.

        A lost group (server restored from nothing, key deleted) is created again.
        """
        with translated():
            try:
                answer = await self._read(consumer, count, block_ms)
            except redis.exceptions.ResponseError as error:
                if not _is_group_lost(error):
                    raise
                await self.ensure_group()
                return []
        found = [entry for _, entries in answer or () for entry in entries if entry[1]]
        return await self._parse(found, [1] * len(found))

    async def _read(self, consumer: str, count: int, block_ms: int) -> Any:
        return await self._redis.xreadgroup(
            GROUP, consumer, {STREAM: ">"}, count=count, block=block_ms or None
        )

    async def reclaim(self, consumer: str, min_idle_ms: int, count: int) -> list[Entry]:
        """Take over up to `count` entries that another consumer has left unsettled so long.

        Needs no lock: the server gives an entry to one caller only. Goes on where it ended.
        """
        with translated():
            try:
                answer = await self._redis.xautoclaim(
                    STREAM, GROUP, consumer, min_idle_ms, self._claim_from, count=count
                )
            except redis.exceptions.ResponseError as error:
                if not _is_group_lost(error):
                    raise
                await self.ensure_group()
                return []
            self._claim_from = answer[0]
            claimed = [(entry_id, fields) for entry_id, fields in answer[1] if fields]
            deliveries = await self._count_deliveries([entry_id for entry_id, _ in claimed])
        return await self._parse(claimed, deliveries)

    async def _parse(
        self, found: Sequence[tuple[bytes, dict[bytes, bytes]]], deliveries: Sequence[int]
    ) -> list[Entry]:
        """The entries; what somebody else has written into our stream is moved aside."""
        entries = []
        for (entry_id, fields), number in zip(found, deliveries, strict=True):
            try:
                entries.append(parse_entry(self.name, entry_id, fields, number))
            except (KeyError, ValueError):
                await self._move_aside(entry_id, {**fields, b"why": b"malformed"})
        return entries

    async def _move_aside(self, entry_id: bytes | str, fields: dict[Any, Any]) -> None:
        with translated():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.xadd(DEAD_STREAM, fields)
                pipe.xack(STREAM, GROUP, entry_id)
                await pipe.execute()

    async def _count_deliveries(self, ids: Sequence[bytes]) -> list[int]:
        if not ids:
            return []
        async with self._redis.pipeline(transaction=False) as pipe:
            for entry_id in ids:
                pipe.xpending_range(STREAM, GROUP, min=entry_id, max=entry_id, count=1)
            answers = await pipe.execute()
        # Empty: settled meanwhile by a consumer that was slow, not dead.
        return [int(answer[0]["times_delivered"]) if answer else 1 for answer in answers]

    async def settle(self, ids: Sequence[str]) -> int:
        """The database has these entries: forget them. How many were pending."""
        if not ids:
            return 0
        with translated():
            return int(await self._redis.xack(STREAM, GROUP, *ids))

    async def bury(self, entry: Entry, reason_code: str) -> None:
        """Move an entry that never succeeds aside, where it stays until a person looks at it."""
        fields: dict[Any, Any] = {
            "e": entry.event_id,
            "s": entry.source_id,
            "k": entry.key,
            "t": entry.event_type,
            "c": entry.content_type,
            "r": entry.received_ms,
            "b": entry.body,
            "why": reason_code,
        }
        await self._move_aside(entry.id, fields)

    async def trim(self) -> int:
        """Drop what is settled; how many entries. Never by length: that drops pending ones."""
        with translated():
            return int(await self._trim(keys=[STREAM]))

    async def depth(self) -> Depth:
        """How much waits here."""
        with translated():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.exists(STREAM)
                pipe.xlen(STREAM)
                pipe.xlen(DEAD_STREAM)
                counts = await pipe.execute()
            groups = await self._redis.xinfo_groups(STREAM) if counts[0] else []
        return parse_depth(length=counts[1], buried=counts[2], groups=groups)


def _is_group_lost(error: redis.exceptions.ResponseError) -> bool:
    # redis-py strips some codes from the text, and UNBLOCKED comes where the key vanishes
    # under a blocked reader.
    return any(word in str(error) for word in ("NOGROUP", "No such key", "UNBLOCKED"))


def get_shards() -> list[Shard]:
    """All shards that may hold entries: those of QUEUE_URL, then those of QUEUE_DRAIN_URL."""
    return [Shard(address.name, address.url) for address in get_all_addresses()]
