"""A lane: one model of one provider. Limits and circuit breaker hold for a lane, in all workers."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit

from django.conf import settings

from apps.llm.provider_models import ProviderModel, find_model


@dataclass(frozen=True)
class ModelLimits:
    """What a provider grants for a model: calls and tokens a minute, calls at once; 0 is none."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrency: int = 0

    @property
    def are_set(self) -> bool:
        return any((self.requests_per_minute, self.tokens_per_minute, self.concurrency))


@dataclass(frozen=True)
class Lane:
    """`provider` is a name that people know it by: its host, where nobody gave it another."""

    provider: str
    model: str
    limits: ModelLimits = ModelLimits()
    context_tokens: int = 0  # of prompt and answer together; 0 is not known

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"

    @property
    def id(self) -> str:
        """16 hex digits for keys and addresses: a model's name may hold anything."""
        return sha256(str(self).encode()).hexdigest()[:16]


def get_lane(model: str, provider: str = "") -> Lane:
    """The lane of a model at a provider, which is that of the settings where no slug is given."""
    row = find_model(provider, model) or ProviderModel()
    own = (row.requests_per_minute, row.tokens_per_minute, row.concurrency)
    if provider:
        return Lane(provider, model, ModelLimits(*own), row.context_tokens)
    host = urlsplit(settings.OPENAI_BASE_URL).netloc.rpartition("@")[2] or "api.openai.com"
    general = (
        *(settings.LLM_REQUESTS_PER_MINUTE, settings.LLM_TOKENS_PER_MINUTE),
        settings.LLM_CONCURRENCY,
    )
    limits = ModelLimits(*(mine or theirs for mine, theirs in zip(own, general, strict=True)))
    return Lane(host, model, limits, row.context_tokens)
