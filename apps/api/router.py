"""The nouns of /api/v1/."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from apps.accounts.api import TokenViewSet
from apps.approvals.api import ApprovalViewSet
from apps.audit.api import AuditViewSet
from apps.backtests.api import BacktestViewSet
from apps.dashboard.api import StatsViewSet
from apps.destinations.api import DestinationViewSet
from apps.events.api import DeadLetterViewSet, EventViewSet
from apps.ingest.api import RefusedRequestViewSet
from apps.llm.batch_api import BatchViewSet
from apps.llm.breaker_api import BreakerViewSet
from apps.llm.budget_api import BudgetViewSet
from apps.llm.cost_api import CostViewSet
from apps.llm.model_api import ModelViewSet
from apps.llm.provider_api import ProviderViewSet
from apps.pipelines.api import PipelineViewSet
from apps.sources.api import SourceViewSet
from apps.sources.secret_api import SecretViewSet

NOUNS = {
    "sources": SourceViewSet,
    "secrets": SecretViewSet,
    "pipelines": PipelineViewSet,
    "destinations": DestinationViewSet,
    "backtests": BacktestViewSet,
    "providers": ProviderViewSet,
    "models": ModelViewSet,
    "budgets": BudgetViewSet,
    "costs": CostViewSet,
    "events": EventViewSet,
    "dead-letters": DeadLetterViewSet,
    "approvals": ApprovalViewSet,
    "refused-requests": RefusedRequestViewSet,
    "breakers": BreakerViewSet,
    "batches": BatchViewSet,
    "stats": StatsViewSet,
    "tokens": TokenViewSet,
    "audit": AuditViewSet,
}

router = SimpleRouter()
for noun, view_set in NOUNS.items():
    router.register(noun, view_set, basename=noun)
