"""What the LLM step counts."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

CALLS = Counter(
    "pipeline_llm_calls_total",
    "Calls by outcome: answered, reused, or the machine word of what failed",
    ["outcome"],
)
CALL_SECONDS = Histogram(
    "pipeline_llm_call_seconds",
    "From the request's leaving to its answer or failure",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160),
)
MASKED = Counter(
    "pipeline_redacted_total", "Values hidden from the model, once for each request", ["kind"]
)
BREAKER_CHANGES = Counter(
    "pipeline_llm_breaker_changes_total", "Circuit breakers opened and closed", ["change"]
)
COST_USD = Counter("pipeline_llm_cost_usd_total", "US dollars paid for answers")
