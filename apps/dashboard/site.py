"""The Unfold site at the root of the web address, and what its own pages have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

from apps.accounts.forms import SignInForm

View = Callable[..., HttpResponse]


class PipelineAdminSite(UnfoldAdminSite):  # type: ignore[misc]
    """Whoever has a role may sign in; each page asks for its own permission."""

    login_form = SignInForm

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The live page stands at the root."""
        from apps.dashboard.views import live_page

        return live_page(request)


def page(permission: str) -> Callable[[View], View]:
    """A view inside the shell: signed in, and with `permission`; 403 otherwise."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.has_perm(permission):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        @wraps(view)
        def signed_in(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            # The site is looked up late: it exists when the apps are ready, views load before.
            response: HttpResponse = admin.site.admin_view(guarded)(request, *args, **kwargs)
            return response

        return signed_in

    return decorate


def render_page(
    request: HttpRequest,
    template: str,
    title: str,
    context: dict[str, Any],
    *,
    parents: tuple[tuple[str, str], ...] = (),
    status: int = 200,
) -> TemplateResponse:
    """A page in the shell. `parents` are (title, url name) of the breadcrumbs before `title`."""
    crumbs = [{"title": name, "link": reverse(url)} for name, url in parents]
    shell = admin.site.each_context(request)
    context = {**shell, "title": title, "crumbs": [*crumbs, {"title": title}], **context}
    return TemplateResponse(request, template, context, status=status)
