"""The model admins of providers and their models."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from apps.audit.admin import AuditedAdmin
from apps.llm.models import Provider, ProviderModel
from apps.llm.pricing import find_prices
from apps.llm.provider_forms import ProviderForm, ProviderModelForm
from apps.pipelines.targets import find_pipelines_naming

NAMES_SHOWN = 8


@admin.register(Provider)
class ProviderAdmin(AuditedAdmin):
    form = ProviderForm
    list_display = ["name", "slug", "base_url", "key", "known_models"]
    search_fields = ["name", "slug", "base_url"]
    prepopulated_fields = {"slug": ["name"]}
    list_before_template = "llm/providers_lead.html"

    @display(description="Key")
    def key(self, provider: Provider) -> str:
        if provider.key_is_elsewhere:
            return "for another host: type it again"
        return "stored" if provider.has_key else "none"

    @display(description="Models")
    def known_models(self, provider: Provider) -> SafeString:
        url = reverse("admin:llm_providermodel_changelist")
        return format_html(
            '<a class="pa-link" href="{}?provider__id__exact={}">{}</a>',
            *(url, provider.pk, provider.models.count()),
        )

    def get_fields(self, request: HttpRequest, obj: Provider | None = None) -> list[str]:
        """A reader never gets the field of the key, not even empty."""
        address, shown = ["name", "slug", "base_url"], ["in_background"]
        if not (self.has_change_permission(request, obj) if obj else True):
            return address + shown
        forget = ["forget_key"] if obj and obj.has_key else []
        return [*address, "api_key", *forget, *shown, "skip_test"]

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return {} if obj else self.prepopulated_fields

    def has_delete_permission(self, request: HttpRequest, obj: Provider | None = None) -> bool:
        """Not while a pipeline names it."""
        may: bool = super().has_delete_permission(request, obj)
        return may and (obj is None or not find_pipelines_naming(obj.slug))

    def save_model(
        self, request: HttpRequest, obj: Provider, form: ProviderForm, change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        for warning in form.warnings:
            messages.warning(request, warning)
        if form.found is not None:
            messages.success(request, f"It answers, with {describe(form.found)}.")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {
            "settings_url": settings.OPENAI_BASE_URL or "https://api.openai.com/v1",
            "settings_model": settings.OPENAI_MODEL,
            "has_settings_provider": bool(settings.OPENAI_BASE_URL or settings.OPENAI_API_KEY),
            "has_settings_key": bool(settings.OPENAI_API_KEY),
        }
        answer: HttpResponse = super().changelist_view(
            request, {**context, **(extra_context or {})}
        )
        return answer


def describe(names: list[str]) -> str:
    """`3 models: a, b, c`."""
    if not names:
        return "no model"
    more = ", …" if len(names) > NAMES_SHOWN else ""
    shown = ", ".join(name[:80] for name in names[:NAMES_SHOWN])
    return f"{len(names):,} model{'' if len(names) == 1 else 's'}: {shown}{more}"


@admin.register(ProviderModel)
class ProviderModelAdmin(AuditedAdmin):
    form = ProviderModelForm
    list_display = ["name", "at", "input_cost", "output_cost", "room", "limits"]
    list_select_related = ["provider"]
    list_filter = ["provider"]
    search_fields = ["name", "provider__name"]
    list_before_template = "llm/models_lead.html"
    fieldsets = [
        (None, {"fields": ["provider", "name"]}),
        ("Prices in US dollars", {"fields": ["input_price", "output_price"]}),
        ("Room", {"fields": ["context_tokens"]}),
        ("Limits", {"fields": ["requests_per_minute", "tokens_per_minute", "concurrency"]}),
    ]

    @display(description="Provider", ordering="provider__name")
    def at(self, row: ProviderModel) -> str:
        return str(row.provider or "of the settings")

    @display(description="Input, 1M tokens")
    def input_cost(self, row: ProviderModel) -> str:
        return show_price(row, 0)

    @display(description="Output, 1M tokens")
    def output_cost(self, row: ProviderModel) -> str:
        return show_price(row, 1)

    @display(description="Context length", ordering="context_tokens")
    def room(self, row: ProviderModel) -> str:
        return f"{row.context_tokens:,}" if row.context_tokens else "not known"

    @display(description="Limits")
    def limits(self, row: ProviderModel) -> str:
        said = (
            (row.requests_per_minute, "calls a minute"),
            (row.tokens_per_minute, "tokens a minute"),
            (row.concurrency, "at once"),
        )
        return ", ".join(f"{number:,} {what}" for number, what in said if number) or "none"

    def has_delete_permission(self, request: HttpRequest, obj: ProviderModel | None = None) -> bool:
        """Not while a pipeline names it at its provider."""
        may: bool = super().has_delete_permission(request, obj)
        at = obj.provider.slug if obj and obj.provider else ""
        return may and not (obj and at and find_pipelines_naming(at, obj.name))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Pipelines and the ledger name it by these."""
        return ["provider", "name"] if obj else []


def show_price(row: ProviderModel, which: int) -> str:
    prices = find_prices(row.name, row.provider.slug if row.provider else "")
    if prices is None:
        return "not known"
    shown = f"${format_usd(prices[which])}"
    return shown if row.prices else f"{shown} (default)"


def format_usd(amount: Decimal) -> str:
    """At least two decimals, and no idle zeros after them."""
    whole, _, cents = f"{amount:,f}".partition(".")
    return f"{whole}.{cents.rstrip('0').ljust(2, '0')}"
