"""The rules of a source as a page: shown, tried on past events, changed."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from apps.audit.models import AuditEntry
from apps.dashboard.site import page, render_page
from apps.ingest.rehearsal import EVENTS_MAX, get_seen_types, rehearse
from apps.sources.models import Source
from apps.sources.rules_form import RulesForm

SOURCES = ("Sources", "admin:sources_source_changelist")


@page("sources.view_source")
def rules(request: HttpRequest, pk: int) -> HttpResponse:
    """A POST saves what was typed, or with `try` only says what it would have done."""
    source = get_object_or_404(Source, pk=pk)
    may_change = request.user.has_perm("sources.change_source")
    if request.method == "POST" and not may_change:
        raise PermissionDenied
    form = RulesForm(source, request.POST or None, may_change=may_change)
    is_good = request.method == "POST" and form.is_valid()
    if is_good and "try" not in request.POST:
        return save(request, source, form)
    context = {
        "source": source,
        "form": form,
        "may_change": may_change,
        "rehearsal": rehearse(source, form.rules) if is_good else None,
        "events_max": EVENTS_MAX,
        "seen_types": get_seen_types(source),
    }
    title = f"Rules of {source.name}"
    return render_page(request, "sources/rules.html", title, context, parents=(SOURCES,))


def save(request: HttpRequest, source: Source, form: RulesForm) -> HttpResponse:
    """Both sides of the change go into the audit."""
    with transaction.atomic():
        changes = source.change_rules(form.rules.get_changed())
        if changes:
            AuditEntry.record(request.user, "source.rules", source, changes=changes)
    done = "The rules are saved: they hold within a few seconds."
    messages.success(request, done if changes else "Nothing was changed.")
    return redirect("admin:sources_source_rules", source.pk)
