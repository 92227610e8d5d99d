"""A source's secrets as pages: rotate, show once, give the old one an end, retire it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from apps.audit.models import AuditEntry
from apps.dashboard.site import page, render_page
from apps.sources.models import COUNTED_EVENTS, Secret, SecretState, Source
from apps.sources.secret_forms import SecretChangeForm, SecretForm

SOURCES = ("Sources", "admin:sources_source_changelist")
LATELY = timedelta(hours=1)


@dataclass(frozen=True)
class SecretRow:
    """One line of the table: `verified` is how many events LATELY; `uses` says it in words."""

    secret: Secret
    verified: int

    @property
    def uses(self) -> str:
        more = "at least " if self.verified >= COUNTED_EVENTS else ""
        return f"{more}{self.verified:,} event{'' if self.verified == 1 else 's'}"


def get_secrets(source: Source) -> dict[str, Any]:
    """The context of `sources/secrets.html`: no value of a secret is even read."""
    verified = source.count_verified(timezone.now() - LATELY)
    rows = [
        SecretRow(secret, verified.get(secret.pk, 0))
        for secret in source.secrets.order_by("-created_at", "-pk").defer("value")
    ]
    return {
        "secret_rows": [row for row in rows if row.secret.state != SecretState.RETIRED],
        "retired_rows": [row for row in rows if row.secret.state == SecretState.RETIRED],
        "has_active_secret": any(row.secret.is_active for row in rows),
        "unproven_end": get_unproven_end([row.secret for row in rows]),
    }


def get_unproven_end(secrets: list[Secret]) -> Secret | None:
    """The secret that ends although no event has come yet that a lasting one verified."""
    ending = [secret for secret in secrets if secret.state == SecretState.ENDING]
    lasting = [secret for secret in secrets if secret.state == SecretState.ACTIVE]
    if not ending or any(secret.last_used_at for secret in lasting):
        return None
    return max(ending, key=lambda secret: secret.ends_at or timezone.now())


def show_secret(request: HttpRequest, source: Source, value: str, title: str) -> HttpResponse:
    """The one page that ever shows the value; a redirect would have to store it."""
    context = {"source": source, "value": value}
    return render_page(request, "sources/secret_once.html", title, context, parents=(SOURCES,))


@page("sources.add_secret")
def add_secret(request: HttpRequest, pk: int) -> HttpResponse:
    """The first secret, or a rotation. A made value is in this answer and nowhere else."""
    source = get_object_or_404(Source, pk=pk)
    form = SecretForm(request.POST or None, instance=Secret(source=source))
    is_rotation = "others_end" in form.fields
    title = "Rotate the secret" if is_rotation else "Add a secret"
    if request.method == "POST" and form.is_valid():
        rotate(request, form)
        if form.made_value:
            return show_secret(request, source, form.made_value, title)
        messages.success(request, "The secret is stored: what is signed with it is accepted.")
        return redirect("admin:sources_source_change", pk)
    context = {"form": form, "source": source, "is_rotation": is_rotation}
    return render_page(request, "sources/add_secret.html", title, context, parents=(SOURCES,))


def rotate(request: HttpRequest, form: SecretForm) -> None:
    secret, others_end_at = form.instance, form.others_end_at
    details = {"source": secret.source.slug}
    if others_end_at is not None:
        details["others_end_at"] = others_end_at.isoformat()
    with transaction.atomic():
        secret.source.rotate(secret, others_end_at)
        AuditEntry.record(request.user, "secret.create", secret, **details)


@page("sources.change_secret")
def change_secret(request: HttpRequest, pk: int) -> HttpResponse:
    """Its name, and when it ends."""
    secret = find_secret(pk)
    form = SecretChangeForm(request.POST or None, instance=secret)
    if request.method == "POST" and form.is_valid():
        change(request, form)
        return redirect("admin:sources_source_change", secret.source_id)
    context = {"form": form, "secret": secret}
    return render_page(
        request, "sources/change_secret.html", secret.label, context, parents=(SOURCES,)
    )


def change(request: HttpRequest, form: SecretChangeForm) -> None:
    secret: Secret = form.instance
    with transaction.atomic():
        secret.rename(form.cleaned_data["name"])
        is_ended = not form.changes_end or secret.end_at(form.ends_at)
        fields = ["name", "ends_at"] if form.changes_end and is_ended else ["name"]
        AuditEntry.record(
            request.user, "secret.update", secret, source=secret.source.slug, fields=fields
        )
    if is_ended:
        messages.success(request, f"{secret.label} is changed.")
    else:
        messages.warning(request, "Somebody gave it another end a moment ago: look at it again.")


@require_POST
@page("sources.change_secret")
def retire_secret(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop verifying with it now; where that would refuse what senders sign, ask first."""
    secret = find_secret(pk)
    warnings = get_warnings(secret)
    if warnings and not request.POST.get("confirmed"):
        context = {"secret": secret, "warnings": warnings}
        title = f"Retire {secret.label}?"
        return render_page(request, "sources/retire.html", title, context, parents=(SOURCES,))
    with transaction.atomic():
        is_retired = secret.retire()
        if is_retired:
            AuditEntry.record(request.user, "secret.retire", secret, source=secret.source.slug)
    if is_retired:
        messages.success(request, "The secret is retired: nothing is verified with it any more.")
    else:
        messages.warning(request, "The secret had ended, or somebody changed its end just now.")
    return redirect("admin:sources_source_change", secret.source_id)


def find_secret(pk: int) -> Secret:
    """Without its value; 404 where it is not there."""
    return get_object_or_404(Secret.objects.select_related("source").defer("value"), pk=pk)


def get_warnings(secret: Secret) -> list[str]:
    """What would be refused if this secret were retired now."""
    if not secret.is_active:
        return []
    found: list[str] = []
    since = timezone.now() - LATELY
    row = SecretRow(secret, secret.source.count_verified(since).get(secret.pk, 0))
    if row.verified:
        found.append(
            f"It verified {row.uses} in the last hour: senders still use it, and what they sign "
            "with it will be refused."
        )
    elif secret.last_used_at and secret.last_used_at > since:
        found.append("It was used in the last hour: senders may still sign with it.")
    if not secret.source.secrets.active().exclude(pk=secret.pk).exists():
        found.append("It is the only active secret: the source will refuse everything.")
    return found
