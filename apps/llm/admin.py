"""The model admins of budgets."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from apps.audit.admin import AuditedAdmin
from apps.dashboard.cells import show_time
from apps.llm.budget_usage import Usage, get_usage
from apps.llm.budget_watch import let_go_on_soon
from apps.llm.budgets import BUDGET_SPENT
from apps.llm.models import Budget
from apps.llm.provider_admin import ProviderAdmin, ProviderModelAdmin

__all__ = ["BudgetAdmin", "ProviderAdmin", "ProviderModelAdmin"]  # Django reads this file only


def find_usage(budget: Budget) -> Usage:
    """Asked once for the cells of a row."""
    usage: Usage = getattr(budget, "usage", None) or get_usage(budget)
    budget.usage = usage  # type: ignore[attr-defined]
    return usage


@admin.register(Budget)
class BudgetAdmin(AuditedAdmin):
    list_display = ["applies_to", "each", "used", "waiting", "starts_anew"]
    list_display_links = ["applies_to"]
    list_select_related = ["source", "pipeline"]
    list_before_template = "llm/budgets_lead.html"
    fields = ["period", "limit_usd", "source", "pipeline"]

    @display(description="For")
    def applies_to(self, budget: Budget) -> str:
        return budget.scope[0].upper() + budget.scope[1:]

    @display(description="Each")
    def each(self, budget: Budget) -> str:
        return str(budget.period)

    @display(description="Used")
    def used(self, budget: Budget) -> SafeString:
        return render_to_string("llm/budget_bar.html", {"usage": find_usage(budget)})

    @display(description="Waiting")
    def waiting(self, budget: Budget) -> SafeString | str:
        count = find_usage(budget).waiting
        if not count:
            return "–"
        query = f"status=held&error_code={BUDGET_SPENT}"
        return format_html(
            '<a class="pa-link" href="{}?{}">{} event{}</a>',
            *(reverse("events:dead_letters"), query, f"{count:,}", "" if count == 1 else "s"),
        )

    @display(description="Starts anew")
    def starts_anew(self, budget: Budget) -> SafeString:
        return format_html("{}", show_time(find_usage(budget).next_start))

    def get_readonly_fields(self, request: HttpRequest, obj: Budget | None = None) -> list[str]:
        """What it counts stays: its periods have counted that."""
        return ["period", "source", "pipeline"] if obj else []

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        let_go_on_soon()

    def delete_model(self, request: HttpRequest, obj: Budget) -> None:
        super().delete_model(request, obj)
        let_go_on_soon()
