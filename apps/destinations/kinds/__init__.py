"""The table of kinds: a new kind is one file and one row here (and a choice on the model)."""

from __future__ import annotations

from apps.destinations.kinds import http, inbox
from apps.destinations.kinds.base import Kind

KINDS: dict[str, Kind] = {
    "http": http.deliver,
    "inbox": inbox.deliver,
}
