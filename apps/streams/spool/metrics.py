"""What the spool counts."""

from __future__ import annotations

from prometheus_client import Counter

TAKEN = Counter("pipeline_spool_taken", "Events that the local spool took in and has on disk")
FED = Counter("pipeline_spool_fed", "Events of the local spool that the queue has now")
REFUSED = Counter("pipeline_spool_refused", "Events that the local spool could not take in")
TORN = Counter("pipeline_spool_torn_bytes", "Bytes of unfinished writes that were cut off")
DAMAGED = Counter("pipeline_spool_damaged", "Spool files with damage, moved aside")
