"""What waits in the spools of all processes that share SPOOL_DIR, for probes, pages and metrics."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from apps.streams.spool.folders import NEW_STATUS, STATUS
from apps.streams.spool.segments import DAMAGED, SUFFIX


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """Figures of up to a second ago. `takes`: a process would take an event now; `why` where none
    would, or where some file is damaged.
    """

    events: int
    bytes: int
    takes: bool
    why: str = ""

    def __str__(self) -> str:
        """What waits, as a sentence; '' where nothing does."""
        if not self.events:
            return "Events wait in the local spool." if self.bytes else ""
        verb = "event waits" if self.events == 1 else "events wait"
        return f"{self.events:,} {verb} in the local spool."


def get_status() -> SpoolStatus | None:
    """None where no process of this machine has a spool."""
    if not settings.SPOOL_MAX_BYTES:
        return None
    events = size = 0
    whys: list[str] = []
    for folder in _list(Path(settings.SPOOL_DIR)):
        if folder.name == DAMAGED:
            continue
        size += sum(_get_size(path) for path in _list(folder) if path.suffix == SUFFIX)
        if (status := _read(folder / STATUS)) is not None:
            events += status[0]
            whys.append(status[1])
    if not whys and not size:
        return None
    takes = "" in whys
    return SpoolStatus(events, size, takes, "" if takes else " ".join(sorted(set(whys))))


def write_status(folder: Path, events: int, why: str) -> None:
    """What `get_status` adds up. Raises OSError: then the process has no status, and so nobody
    takes it for one whose spool takes events.
    """
    new = folder / NEW_STATUS
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump({"events": events, "why": why}, file)
        new.replace(folder / STATUS)
    except OSError:
        (folder / STATUS).unlink(missing_ok=True)
        raise


def _list(folder: Path) -> list[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def _get_size(path: Path) -> int:
    with suppress(OSError):  # fed and deleted a moment ago
        return path.stat().st_size
    return 0


def _read(path: Path) -> tuple[int, str] | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(path.read_text(encoding="utf-8"))
        return int(content["events"]), str(content["why"])
    return None
