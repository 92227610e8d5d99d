"""A source's secrets as pages: add one for a rotation, show it once, retire the old one."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from apps.audit.models import AuditEntry
from apps.dashboard.site import page, render_page
from apps.sources.models import Secret, Source
from apps.sources.secret_forms import SecretForm

SOURCES = ("Sources", "admin:sources_source_changelist")


def show_secret(request: HttpRequest, source: Source, value: str, title: str) -> HttpResponse:
    """The one page that ever shows the value; a redirect would have to store it."""
    context = {
        "source": source,
        "value": value,
    }
    return render_page(request, "sources/secret_once.html", title, context, parents=(SOURCES,))


@page("sources.add_secret")
def add_secret(request: HttpRequest, pk: int) -> HttpResponse:
    """A second secret for a rotation; its value is in this answer and nowhere else."""
    source = get_object_or_404(Source, pk=pk)
    form = SecretForm(request.POST or None, instance=Secret(source=source))
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            secret = form.save()
            AuditEntry.record(request.user, "secret.create", secret, source=source.slug)
        if form.made_value:
            return show_secret(request, source, form.made_value, "Secret added")
        messages.success(request, "The secret is stored: what is signed with it is accepted.")
        return redirect("admin:sources_source_change", pk)
    context = {"form": form, "source": source}
    return render_page(
        request, "sources/add_secret.html", "Add a secret", context, parents=(SOURCES,)
    )


@require_POST
@page("sources.change_secret")
def retire_secret(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop verifying with it now."""
    secret = get_object_or_404(Secret.objects.select_related("source"), pk=pk)
    with transaction.atomic():
        if secret.retire():
            AuditEntry.record(request.user, "secret.retire", secret, source=secret.source.slug)
    messages.success(request, "The secret is retired: nothing is verified with it any more.")
    return redirect("admin:sources_source_change", secret.source_id)
