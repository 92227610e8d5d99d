"""Which models a version asks: the first, and in order those that stand in where it is down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings

from apps.llm.provider_models import SETTINGS_SLUG, Provider, ProviderModel, find_model
from apps.pipelines.models import PipelineDraft, PipelineVersion

MAX_FALLBACKS = 3


class WrongTarget(ValueError):
    """A provider or model can't be asked: `field` of the version, and a plain sentence."""

    code = "wrong_target"
    permanent = True
    retry_after_s: float | None = None

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Target:
    """A model at a provider: `provider` is a slug or "", that of the settings; a `model` of "" is
    the one of OPENAI_MODEL.
    """

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider or SETTINGS_SLUG}/{self.model or settings.OPENAI_MODEL}"


def get_targets(version: PipelineVersion) -> list[Target]:
    """In the order in which they are asked; the first is the version's own."""
    return [Target(version.provider, version.model), *read_fallbacks(version.fallbacks)]


def read_fallbacks(value: Any) -> list[Target]:
    """From `[{"provider": …, "model": …}]`. Raises `WrongTarget`."""
    if not isinstance(value, list):
        raise WrongTarget("fallbacks", "It must be a list of provider and model.")
    if len(value) > MAX_FALLBACKS:
        raise WrongTarget("fallbacks", f"There can be {MAX_FALLBACKS} at most.")
    return [_read_target(each) for each in value]


def _read_target(value: Any) -> Target:
    if not isinstance(value, dict) or not value.keys() <= {"provider", "model"}:
        raise WrongTarget("fallbacks", "Each must be an object with provider and model.")
    named = [value.get(name) or "" for name in ("provider", "model")]
    if not all(isinstance(name, str) for name in named):
        raise WrongTarget("fallbacks", "Provider and model are names.")
    provider, model = named
    return Target("" if provider == SETTINGS_SLUG else provider, model)


def to_json(targets: Iterable[Target]) -> list[dict[str, str]]:
    """As a version keeps them."""
    return [asdict(target) for target in targets]


def check_targets(provider: str, model: str, fallbacks: Any) -> None:
    """Whether each can be asked, and is asked once. Raises `WrongTarget`."""
    first = Target(provider, model)
    _check_target(first, "provider", "model")
    seen = {str(first)}
    for target in read_fallbacks(fallbacks):
        _check_target(target, "fallbacks", "fallbacks")
        if str(target) in seen:
            raise WrongTarget("fallbacks", f"{target} is asked already: choose another one.")
        seen.add(str(target))


def _check_target(target: Target, at: str, model_at: str) -> None:
    if not target.provider:
        return
    if not Provider.objects.filter(slug=target.provider).exists():
        raise WrongTarget(at, f"There is no provider “{target.provider}”.")
    if not target.model:
        raise WrongTarget(model_at, f"Name a model of the provider “{target.provider}”.")
    if find_model(target.provider, target.model) is None:
        raise WrongTarget(
            model_at,
            f"The provider “{target.provider}” has no model “{target.model}”: add it on the page "
            "Models first.",
        )


def find_choices() -> list[Target]:
    """What can stand in: the default of the settings, and every model that is listed."""
    rows = ProviderModel.objects.select_related("provider")
    return [
        Target("", ""),
        *(Target(row.provider.slug if row.provider else "", row.name) for row in rows),
    ]


def find_pipelines_naming(provider: str, model: str = "") -> list[str]:
    """Names of pipelines with a version or a draft that asks this provider, or this model of it."""
    versions = PipelineVersion.objects.exclude(provider="", fallbacks=[])
    found = {
        version.pipeline.name
        for version in (*versions.select_related("pipeline"), *_read_drafts())
        if any(_is_named(target, provider, model) for target in get_targets(version))
    }
    return sorted(found)


def _read_drafts() -> Iterator[PipelineVersion]:
    for draft in PipelineDraft.objects.select_related("pipeline"):
        yield draft.get_version()


def _is_named(target: Target, provider: str, model: str) -> bool:
    return target.provider == provider and (not model or target.model == model)
