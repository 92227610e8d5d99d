"""Sources: picked by scheme, tried with a signed command, paused and resumed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST
from unfold.decorators import display

from apps.audit.admin import AuditedAdmin
from apps.audit.models import AuditEntry
from apps.dashboard.cells import show_badge, show_time
from apps.dashboard.site import page, render_page
from apps.events.models import Event
from apps.ingest.models import RefusedRequest
from apps.pipelines.models import Pipeline
from apps.sources import connect_pages, rules_pages, secret_pages
from apps.sources.connect import get_connect
from apps.sources.forms import OPTION, NewSourceForm, SourceForm
from apps.sources.models import Secret, Source, SourceInUse
from apps.sources.picker import GENERAL, get_picks
from apps.sources.schemes import SCHEMES
from apps.sources.secret_pages import SOURCES


@admin.register(Source)
class SourceAdmin(AuditedAdmin):
    list_display = ["name", "hook", "scheme_label", "pipeline", "last_event", "state"]
    list_select_related = ["pipeline"]
    search_fields = ["name", "slug"]
    prepopulated_fields = {"slug": ["name"]}
    change_form_outer_before_template = "sources/above_form.html"
    change_form_outer_after_template = "sources/below_form.html"

    @display(description="Webhook address")
    def hook(self, source: Source) -> str:
        return f"/hooks/{source.slug}"

    @display(description="Scheme")
    def scheme_label(self, source: Source) -> str:
        return get_scheme_label(source.scheme)

    @display(description="Last event")
    def last_event(self, source: Source) -> str:
        return show_time(getattr(source, "last_event_at", None))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Source]:
        newest = Event.objects.filter(source=OuterRef("pk")).order_by("-received_at")
        found: QuerySet[Source] = super().get_queryset(request)
        return found.annotate(last_event_at=Subquery(newest.values("received_at")[:1]))

    @display(description="State")
    def state(self, source: Source) -> str:
        if source.paused_at:
            return show_badge("Paused", "held")
        return show_badge("Accepts events", "delivered")

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("<int:pk>/pause/", pause, name="sources_source_pause"),
            path("<int:pk>/resume/", resume, name="sources_source_resume"),
            path("<int:pk>/arrivals/", connect_pages.arrivals_fragment, name="sources_arrivals"),
            path("<int:pk>/test/", connect_pages.test_event, name="sources_source_test"),
            path("<int:pk>/rules/", rules_pages.rules, name="sources_source_rules"),
            path("<int:pk>/secrets/", secret_pages.add_secret, name="sources_source_secret"),
            path(
                "secrets/<int:pk>/change/",
                secret_pages.change_secret,
                name="sources_secret_change",
            ),
            path(
                "secrets/<int:pk>/retire/",
                secret_pages.retire_secret,
                name="sources_secret_retire",
            ),
        ]
        return own + super().get_urls()

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """First which scheme, then the form of that scheme."""
        if not self.has_add_permission(request):
            return super().add_view(request, *args, **kwargs)
        if not Pipeline.objects.exists():
            title = "A source needs a pipeline"
            return render_page(request, "sources/no_pipeline.html", title, {}, parents=(SOURCES,))
        if (picked := SCHEMES.get(request.GET.get("scheme", ""))) is not None:
            shown = {"picked": picked, "title": f"A source for {picked.label}"}
            return super().add_view(request, *args, **kwargs | {"extra_context": shown})
        title = "Who sends the webhooks?"
        return render_page(
            request, "sources/pick_scheme.html", title, get_picks(), parents=(SOURCES,)
        )

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """What most take as it stands: then only Enter is left to press."""
        info = SCHEMES[request.GET["scheme"]]
        pipelines = list(Pipeline.objects.values_list("pk", flat=True)[:2])
        initial: dict[str, Any] = {}
        if info.slug not in GENERAL:  # such a sender has a name of its own
            initial = {"name": info.label, "slug": Source.find_free_slug(info.slug)}
        return initial | ({"pipeline": pipelines[0]} if len(pipelines) == 1 else {})

    def get_form(
        self, request: HttpRequest, obj: Source | None = None, change: bool = False, **kwargs: Any
    ) -> type[SourceForm]:
        base = SourceForm if obj else NewSourceForm
        slug = obj.scheme if obj else request.GET.get("scheme", "")
        # Option fields are made by the form itself, so Django must not look for them in the model.
        return type(base.__name__, (base,), {"scheme_slug": slug})

    def get_fieldsets(self, request: HttpRequest, obj: Source | None = None) -> Any:
        info = SCHEMES[obj.scheme if obj else request.GET["scheme"]]
        secret = ["secret"] if obj is None and info.needs_secret else []
        options = [OPTION + field.name for field in info.fields]
        rows: list[Any] = [(None, {"fields": ["name", "slug", "pipeline", *secret]})]
        if self.has_change_permission(request, obj):
            # Where nobody has filled them in already, they are what the form is about.
            folded = [] if info.slug in GENERAL and obj is None else ["collapse"]
            rows.append((f"{info.label}: options", {"fields": options, "classes": folded}))
            rows.append(("Limits", {"fields": ["max_body_bytes"], "classes": ["collapse"]}))
        return rows

    def has_delete_permission(self, request: HttpRequest, obj: Source | None = None) -> bool:
        """Not while it has events, stored or still in the queue. Pause it instead."""
        may: bool = super().has_delete_permission(request, obj)
        return may and (obj is None or not get_why_no_delete(obj))

    def save_model(self, request: HttpRequest, obj: Source, form: SourceForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not isinstance(form, NewSourceForm):
            return
        obj.made_secret = form.make_secret()  # type: ignore[attr-defined]
        if value := obj.made_secret or form.cleaned_data.get("secret"):  # type: ignore[attr-defined]
            secret = Secret.objects.create(source=obj, value=value)
            AuditEntry.record(request.user, "secret.create", secret, source=obj.slug)

    def response_add(
        self, request: HttpRequest, obj: Source, post_url_continue: str | None = None
    ) -> HttpResponse:
        """On to the first event. A secret that was made is shown on this one page and never again;
        a redirect would have to store it.
        """
        value = getattr(obj, "made_secret", "")
        if not value:
            return redirect("admin:sources_source_change", obj.pk)
        context = get_connect(obj, may_sign=True, new_secret=value)
        return render_page(
            request, "sources/connect_page.html", obj.name, context, parents=(SOURCES,)
        )

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        source = Source.objects.filter(pk=object_id).first() if object_id.isdecimal() else None
        below = get_below_form(request, source) if source else {}
        answer: HttpResponse = super().change_view(
            request, object_id, form_url, {**below, **(extra_context or {})}
        )
        return answer


def get_scheme_label(slug: str) -> str:
    return SCHEMES[slug].label if slug in SCHEMES else slug


def get_below_form(request: HttpRequest, source: Source) -> dict[str, Any]:
    """Address, test command and secrets (never their values), as far as this reader may see."""
    may_see = request.user.has_perm("sources.view_secret")
    return {
        "source": source,
        "refused_lately": RefusedRequest.count_lately(source),
        "may_see_secrets": may_see,
        **(secret_pages.get_secrets(source) if may_see else {}),
        "why_no_delete": get_why_no_delete(source),
        **get_connect(source, may_sign=may_see),
    }


def get_why_no_delete(source: Source) -> str:
    """The sentence for a source without a delete button; "" where it has one."""
    if source.events.exists():
        return "It has events, which would lose their source. Pause it instead."
    try:
        source.check_deletable()
    except SourceInUse as error:
        return str(error)
    return ""


@require_POST
@page("sources.change_source")
def pause(request: HttpRequest, pk: int) -> HttpResponse:
    return set_paused(request, pk, "pause")


@require_POST
@page("sources.change_source")
def resume(request: HttpRequest, pk: int) -> HttpResponse:
    return set_paused(request, pk, "resume")


def set_paused(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    source = get_object_or_404(Source, pk=pk)
    with transaction.atomic():
        changed = source.pause() if verb == "pause" else source.resume()
        if changed:
            AuditEntry.record(request.user, f"source.{verb}", source)
    messages.success(request, "It is paused." if source.paused_at else "It accepts events.")
    return redirect("admin:sources_source_change", pk)
