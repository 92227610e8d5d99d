"""How the providers that pipelines ask are doing, as far as is known without asking them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings

from apps.llm.breaker import find_open, find_outcomes
from apps.llm.lanes import get_lane
from apps.llm.provider_models import SETTINGS_SLUG, Provider
from apps.pipelines.models import Pipeline
from apps.pipelines.targets import get_targets
from apps.streams.errors import QueueError

LEFT_ALONE = "A circuit breaker is open: it is left alone for a while."


@dataclass(frozen=True)
class Told:
    """What the queue's server knows, by a lane's provider: how calls ended, who is left alone."""

    outcomes: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    left_alone: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ProviderHealth:
    """One provider in use: `why` is a sentence where calls to it do not leave, `is_wrong` where
    only a person changes that.

    Of its last call `last_at` tells when that ended, and `last_code` its machine word, empty for an
    answer; None where nobody knows.
    """

    name: str
    why: str = ""
    is_wrong: bool = False
    last_at: datetime | None = None
    last_code: str | None = None

    def as_json(self) -> dict[str, object]:
        """Plain data, without address and key."""
        at = self.last_at.isoformat() if self.last_at else None
        last = {"last_at": at, "last_code": self.last_code}
        return {"name": self.name, "ok": not self.why, "why": self.why, **last}


def read_told() -> Told:
    """Takes as long as the queue's server, and no database: may be read in a thread."""
    try:
        return Told(find_outcomes(), frozenset(each.provider for each in find_open()))
    except QueueError:
        return Told()


def get_providers(told: Told) -> list[ProviderHealth]:
    """Those that a pipeline's version now in use names; nothing is sent to them."""
    slugs = find_used()
    rows = {row.slug: row for row in Provider.objects.filter(slug__in=slugs)}
    found = []
    for slug in slugs:
        known_as = get_lane("", slug).provider
        at, code = told.outcomes.get(known_as, (None, None))
        fault = _find_fault(slug, rows.get(slug))
        why = fault or (LEFT_ALONE if known_as in told.left_alone else "")
        found.append(ProviderHealth(slug or SETTINGS_SLUG, why, bool(fault), at, code))
    return found


def find_used() -> list[str]:
    """Slugs, that of the settings ("") first where it is used."""
    pipelines = Pipeline.objects.exclude(current_version=None).select_related("current_version")
    versions = [each.current_version for each in pipelines if each.current_version]
    return sorted({target.provider for version in versions for target in get_targets(version)})


def _find_fault(slug: str, row: Provider | None) -> str:
    """A sentence where it can't be asked at all."""
    if not slug:
        is_there = settings.OPENAI_BASE_URL or settings.OPENAI_API_KEY
        return "" if is_there else "It is not configured: set OPENAI_API_KEY or OPENAI_BASE_URL."
    if row is None:
        return "A pipeline names it, and it is gone."
    return "Its key was given for another host: type it again." if row.key_is_elsewhere else ""
