"""The shards of the queue as the live page shows them, where there is more than one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ShardRow:
    """A shard: what it does now, how much waits in it, and whether somebody must look."""

    name: str
    state: str
    waiting: str
    tone: str  # 'ok', 'failing', or 'unknown' for one that is on its way out


def get_rows(shards: Sequence[Mapping[str, Any]]) -> list[ShardRow]:
    """A row for each shard of a sample (`figures.get_shards`); none for a lonely one."""
    if len(shards) < 2:
        return []
    return [ShardRow(shard["shard"], *_get_state(shard), tone=_get_tone(shard)) for shard in shards]


def _get_state(shard: Mapping[str, Any]) -> tuple[str, str]:
    if shard["length"] is None:
        return "does not answer", "Nobody knows how much waits."
    waiting = f"{shard['length']:,} waiting" if shard["length"] else "nothing waiting"
    if shard["buried"]:
        waiting += f", {shard['buried']:,} moved aside"
    if not shard.get("draining"):
        return ("takes events" if shard["durable"] else "takes no events"), waiting
    if shard["length"] or shard["buried"]:
        return "draining", waiting
    return "empty", "Nothing is left: its server may go, see the runbook."


def _get_tone(shard: Mapping[str, Any]) -> str:
    if shard["length"] is None or not (shard["durable"] or shard.get("draining")):
        return "failing"
    return "unknown" if shard.get("draining") else "ok"
