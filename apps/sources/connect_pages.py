"""Pages around a source's first event: has one come, and a test event at the press of a button."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST

from apps.audit.models import AuditEntry
from apps.dashboard.site import page
from apps.sources.connect import get_arrivals
from apps.sources.loopback import send_test_event
from apps.sources.models import Source


@page("sources.view_source")
def arrivals_fragment(request: HttpRequest, pk: int) -> HttpResponse:
    """204 where the page shows this already: nothing blinks, nothing is read out again."""
    arrivals = get_arrivals(get_object_or_404(Source, pk=pk))
    if request.GET.get("seen") == arrivals["state"]:
        return HttpResponse(status=204)
    return render(request, "sources/arrivals.html", arrivals)


@require_POST
@page("sources.change_source")
def test_event(request: HttpRequest, pk: int) -> HttpResponse:
    """Sign a sample event as the provider would, post it to this server, show the answer."""
    source = get_object_or_404(Source, pk=pk)
    outcome = send_test_event(source, request.META)
    AuditEntry.record(request.user, "source.test", source, status=outcome.status)
    return render(request, "sources/test_answer.html", {"outcome": outcome})
