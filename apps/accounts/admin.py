"""People and API tokens."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.views.decorators.http import require_POST
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm

from apps.accounts.forms import NewUserForm, TokenForm, UserForm, is_last_admin, set_role
from apps.accounts.models import ApiToken, User
from apps.audit.admin import AuditedAdmin
from apps.audit.models import AuditEntry
from apps.dashboard.cells import show_badge, show_time
from apps.dashboard.site import page, render_page

TOKENS = ("API tokens", "admin:accounts_apitoken_changelist")

admin.site.unregister(Group)  # roles are made by migration: a page to edit them would lie


@admin.register(User)
class UserAdmin(BaseUserAdmin, AuditedAdmin):  # type: ignore[type-arg,misc]
    form = UserForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "email", "role", "active", "seen"]
    list_filter = ["groups", "is_active"]
    filter_horizontal = ()
    fieldsets = [
        (None, {"fields": ["username", "email", "role", "is_active"]}),
        (None, {"fields": ["password_link"]}),
    ]
    add_fieldsets = [(None, {"fields": ["username", "email", "role", "password1", "password2"]})]

    readonly_fields = ["password_link"]

    @display(description="Role")
    def role(self, user: User) -> str:
        return user.get_role()

    @display(description="Active")
    def active(self, user: User) -> str:
        return show_badge("active", "delivered") if user.is_active else show_badge("switched off")

    @display(description="Last sign-in", ordering="last_login")
    def seen(self, user: User) -> str:
        return show_time(user.last_login)

    @display(description="Password")
    def password_link(self, user: User) -> str:
        return format_html('<a class="pa-link" href="{}">Set a new password</a>', "../password/")

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        may: bool = super().has_delete_permission(request, obj)
        return may and (obj is None or (obj != request.user and not is_last_admin(obj)))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        set_role(form.instance, form.cleaned_data["role"])


@admin.register(ApiToken)
class ApiTokenAdmin(AuditedAdmin):
    list_display = ["name", "user", "beginning", "shown_scopes", "used", "state"]
    list_select_related = ["user"]
    search_fields = ["name", "user__username"]
    form = TokenForm
    fields = ["name", "scopes", "days"]
    change_form_outer_after_template = "accounts/token_actions.html"

    @display(description="Begins with")
    def beginning(self, token: ApiToken) -> str:
        return f"{token.prefix}…"

    @display(description="Scopes")
    def shown_scopes(self, token: ApiToken) -> str:
        return ", ".join(token.scopes)

    @display(description="Last used", ordering="last_used_at")
    def used(self, token: ApiToken) -> str:
        return show_time(token.last_used_at)

    @display(description="State")
    def state(self, token: ApiToken) -> str:
        if token.revoked_at:
            return show_badge("revoked", "dead")
        is_over = token.expires_at is not None and token.expires_at <= timezone.now()
        return show_badge("expired") if is_over else show_badge("works", "delivered")

    def get_urls(self) -> list[URLPattern]:
        own = [path("<int:pk>/revoke/", revoke, name="accounts_apitoken_revoke")]
        return own + super().get_urls()

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> list[str]:
        if obj is None:
            return ["name", "scopes", "days"]
        return ["name", "user", "beginning", "shown_scopes", "created_at", "last_used_at",
                "expires_at", "revoked_at"]  # fmt: skip

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        """A token never changes: it is issued and revoked."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        """Revoked, not deleted: the audit names it."""
        return False

    def save_model(
        self, request: HttpRequest, obj: ApiToken, form: TokenForm, change: bool
    ) -> None:
        issued, text = form.issue(request.user)  # type: ignore[arg-type]
        obj.__dict__.update(issued.__dict__)
        obj.text = text  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The one page that ever shows the token."""
        context = {"token": obj, "value": obj.text}  # type: ignore[attr-defined]
        return render_page(
            request, "accounts/token_once.html", "Token issued", context, parents=(TOKENS,)
        )


@require_POST
@page("accounts.change_apitoken")
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """End the token now."""
    token = get_object_or_404(ApiToken, pk=pk)
    with transaction.atomic():
        if token.revoke():
            AuditEntry.record(request.user, "apitoken.revoke", token)
    messages.success(request, f"{token.name} is revoked.")
    return redirect("admin:accounts_apitoken_changelist")
