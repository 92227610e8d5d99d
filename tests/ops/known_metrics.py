"""The metrics that dashboards and alerts may name, and who shows them."""

from __future__ import annotations

import re

GAUGES_AND_COUNTERS = {
    *("pipeline_queue_length", "pipeline_consumer_lag", "pipeline_llm_latency_seconds"),
    *("pipeline_error_rate", "pipeline_dead_letters", "pipeline_workflow_success_rate"),
    *("pipeline_queue_durable", "pipeline_part_up", "pipeline_events_held"),
    *("pipeline_ingest_accepted_total", "pipeline_ingest_duplicates_total"),
    *("pipeline_ingest_rejected_total", "pipeline_attempts_total", "pipeline_llm_calls_total"),
    *(
        "pipeline_llm_cost_usd_total",
        "pipeline_dispatcher_buried_total",
        "pipeline_event_conflicts_total",
    ),
    *("pipeline_llm_breaker_open", "pipeline_llm_breaker_changes_total"),
    "pipeline_redacted_total",
    *("pipeline_budget_used_ratio", "pipeline_budget_blocks"),
    *("pipeline_llm_batch_calls", "pipeline_llm_batches_unknown"),
    *("pipeline_llm_batches_faulty", "pipeline_llm_batch_due_timestamp_seconds"),
    *("pipeline_approvals_waiting", "pipeline_approval_oldest_seconds"),
    "pipeline_approval_deadline_timestamp_seconds",
    "pipeline_approvals_decided_total",
    *("pipeline_refused_kept_total", "pipeline_refused_dropped_total"),
    *("pipeline_spool_events", "pipeline_spool_bytes", "pipeline_spool_takes"),
}
HISTOGRAMS = {"pipeline_llm_call_seconds", "pipeline_dispatcher_batch_size"}

# Read from a worker of temporalio 1.35 with PrometheusConfig's defaults: times are milliseconds,
# counters have no suffix.
TEMPORAL_SDK = {
    *("temporal_workflow_completed", "temporal_workflow_failed"),
    *("temporal_worker_task_slots_available", "temporal_worker_task_slots_used"),
}
TEMPORAL_SDK_HISTOGRAMS = {
    *("temporal_workflow_endtoend_latency", "temporal_workflow_task_schedule_to_start_latency"),
    *("temporal_activity_schedule_to_start_latency", "temporal_activity_execution_latency"),
    *("temporal_local_activity_execution_latency", "temporal_request_latency"),
}
DJANGO_PROMETHEUS = {
    "django_http_responses_total_by_status_total",
    "django_http_requests_latency_seconds_by_view_method_bucket",
}
PROMETHEUS = {"up", "ALERTS", "process_resident_memory_bytes", "process_cpu_seconds_total"}
SIX_FIGURES = [
    "pipeline_queue_length",
    "pipeline_consumer_lag",
    "pipeline_llm_latency_seconds",
    "pipeline_error_rate",
    "pipeline_dead_letters",
    "pipeline_workflow_success_rate",
]
KNOWN = {
    *GAUGES_AND_COUNTERS,
    *TEMPORAL_SDK,
    *DJANGO_PROMETHEUS,
    *PROMETHEUS,
    *(f"{name}_bucket" for name in HISTOGRAMS | TEMPORAL_SDK_HISTOGRAMS),
}
WORDS_OF_PROMQL = {
    *("sum", "max", "min", "by", "on", "and", "or", "unless", "rate", "increase", "deriv"),
    *("absent", "histogram_quantile", "time", "vector"),
}


def get_metrics(expression: str) -> set[str]:
    """The metric names in a PromQL expression: words outside of braces, brackets and `by (…)`."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on) \([^)]*\)", " ", expression)
    return set(re.findall(r"[a-zA-Z_][a-zA-Z0-9_]*", bare)) - WORDS_OF_PROMQL
