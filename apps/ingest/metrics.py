"""What ingest counts."""

from __future__ import annotations

from prometheus_client import Counter

ACCEPTED = Counter("pipeline_ingest_accepted", "Events taken in and on disk", ["source"])
DUPLICATES = Counter(
    "pipeline_ingest_duplicates", "Events that were there already: answered 200", ["source"]
)
REJECTED = Counter(
    "pipeline_ingest_rejected", "Requests not taken in, by machine word", ["source", "reason"]
)

UNKNOWN_SOURCE = "unknown"
"""Label of requests to no source: their paths come from strangers and would fill the memory."""
