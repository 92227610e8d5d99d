"""What ingest counts."""

from __future__ import annotations

from prometheus_client import Counter

ACCEPTED = Counter("pipeline_ingest_accepted", "Events taken in and on disk", ["source"])
DUPLICATES = Counter(
    "pipeline_ingest_duplicates", "Events that were there already: answered 200", ["source"]
)
IGNORED = Counter(
    "pipeline_ingest_ignored", "Events of a type that the source does not take", ["source"]
)
REJECTED = Counter(
    "pipeline_ingest_rejected", "Requests not taken in, by machine word", ["source", "reason"]
)
REFUSED_KEPT = Counter("pipeline_refused_kept", "Refused requests that were kept", ["source"])
REFUSED_DROPPED = Counter(
    "pipeline_refused_dropped", "Refused requests for which there was no room", ["source"]
)

UNKNOWN_SOURCE = "unknown"
"""Label of requests to no source: their paths come from strangers and would fill the memory."""
