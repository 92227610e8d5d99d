"""Rates that all processes share: so many a minute for a key, with a burst.

    wait_s = await limits.take(Ask("source:7", Rate(600, 100)))     # 0.0: go on

One atomic call on the first shard's server, by its clock; keys expire by themselves, and a refusal
writes nothing. While that server does not answer, each process counts for itself: a limit is then
as many times larger as there are processes, and nobody waits for a counter.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from dataclasses import dataclass

import hiredis

from apps.streams.connection import Connection, connect
from apps.streams.errors import QueueError, translate

logger = logging.getLogger(__name__)

TIMEOUT_S = 0.25
RECONNECT_S = 1.0
# A process that counts for itself must not be filled by strangers' addresses.
MAX_LOCAL_KEYS = 10_000

# A bucket is one number: the time at which it will be full again (GCRA). KEYS: the buckets. ARGV,
# for each: microseconds until one unit grows back, units of a full bucket, units asked for. The
# answer is 0 where every bucket had enough, else the microseconds until they will: then none has
# lost any.
TAKE = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local wait, full_at = 0, {}
for i = 1, #KEYS do
  local unit, burst, cost = ARGV[i * 3 - 2], ARGV[i * 3 - 1], ARGV[i * 3]
  local at = tonumber(redis.call('GET', KEYS[i]) or now)
  at = math.min(math.max(at, now), now + unit * burst) + unit * cost
  full_at[i] = at
  wait = math.max(wait, at - unit * burst - now)
end
if wait > 0 then return string.format('%.0f', math.ceil(wait)) end
for i = 1, #KEYS do
  local ms = math.ceil((full_at[i] - now) / 1000)
  if ms > 0 then redis.call('SET', KEYS[i], string.format('%.0f', full_at[i]), 'PX', ms) end
end
return '0'
"""
TAKE_SHA = hashlib.sha1(TAKE.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` units at once, and `per_minute` that grow back."""

    per_minute: float
    burst: float

    @property
    def unit_us(self) -> float:
        """Microseconds until one unit grows back."""
        return 60_000_000 / self.per_minute


@dataclass(frozen=True, slots=True)
class Ask:
    """`cost` units of the bucket `key`. More than a full bucket holds is given to nobody: the
    caller keeps `cost` at or below the burst."""

    key: str
    rate: Rate
    cost: float = 1.0


class Limits:
    """The door; one for each event loop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._try_again_at = 0.0
        self._own = OwnBuckets()

    async def take(self, *asked: Ask) -> float:
        """0.0: everything asked for was taken. Otherwise nothing was, and this is how many seconds
        later it would be, as long as nobody else takes it first.
        """
        if time.monotonic() >= self._try_again_at:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    return await self._ask_server(asked)
            except (QueueError, TimeoutError, hiredis.ReplyError) as error:
                self._give_up(error)
        return self._own.take(asked)

    async def stop(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.abort()

    async def _ask_server(self, asked: tuple[Ask, ...]) -> float:
        connection = await self._connect()
        arguments: list[str | int] = [len(asked), *(f"pipeline:limit:{ask.key}" for ask in asked)]
        for ask in asked:
            arguments += (repr(ask.rate.unit_us), repr(ask.rate.burst), repr(ask.cost))
        try:
            reply = await connection.call("EVALSHA", TAKE_SHA, *arguments)
        except hiredis.ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            reply = await connection.call("EVAL", TAKE, *arguments)
        return int(reply) / 1_000_000

    async def _connect(self) -> Connection:
        async with self._connecting:
            if self._connection is None or self._connection.lost.done():
                self._connection = await connect(self._url)
                self._try_again_at = 0.0
            return self._connection

    def _give_up(self, error: Exception) -> None:
        # What waits in a connection that hangs would answer late, and each later question too.
        if self._connection is not None:
            self._connection.abort()
            self._connection = None
        if time.monotonic() >= self._try_again_at + 10 * RECONNECT_S:
            known = error if isinstance(error, QueueError) else translate(error)
            logger.warning("Each process counts its rates for itself: %s", known)
        self._try_again_at = time.monotonic() + RECONNECT_S


class OwnBuckets:
    """The same arithmetic for this process alone."""

    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}

    def take(self, asked: tuple[Ask, ...], at: float | None = None) -> float:
        """As `Limits.take`; `at` is the time to go by, in seconds, and never goes back."""
        now = time.monotonic() if at is None else at
        wait_s, full_at = 0.0, {}
        for ask in asked:
            unit_s = ask.rate.unit_us / 1_000_000
            whole_s = unit_s * ask.rate.burst
            before = max(self._full_at.get(ask.key, now), now)
            full_at[ask.key] = min(before, now + whole_s) + unit_s * ask.cost
            wait_s = max(wait_s, full_at[ask.key] - whole_s - now)
        if wait_s > 0:
            return wait_s
        if len(self._full_at) >= MAX_LOCAL_KEYS:
            self._forget(now)
        self._full_at |= full_at
        return 0.0

    def _forget(self, now: float) -> None:
        left = {key: at for key, at in self._full_at.items() if at > now}
        self._full_at = left if len(left) < MAX_LOCAL_KEYS else {}
