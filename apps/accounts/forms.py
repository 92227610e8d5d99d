"""Forms of people and their tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm, UserCreationForm
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from apps.accounts.models import SCOPES, ApiToken, User
from apps.accounts.roles import ROLES

ROLE_CHOICES = [("", "No role: can't sign in"), *((role, role.capitalize()) for role in ROLES)]
LIFETIMES = [("30", "30 days"), ("90", "90 days"), ("365", "1 year"), ("", "Until it is revoked")]


class SignInForm(AuthenticationForm):  # type: ignore[misc]
    """Sign-in; somebody without a role is told so, but only after a right password."""

    error_messages = {
        "invalid_login": "User name and password do not fit together. Both are case-sensitive.",
        "inactive": "This account is switched off. Ask an administrator.",
        "no_role": "Your account has no role yet, so there is nothing it may see. "
        "Ask an administrator to give it one.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].widget.attrs["autocomplete"] = "username"
        self.fields["password"].widget.attrs["autocomplete"] = "current-password"

    def confirm_login_allowed(self, user: AbstractBaseUser) -> None:
        if not user.is_active:
            raise ValidationError(self.error_messages["inactive"], code="inactive")
        if not getattr(user, "is_staff", False):
            raise ValidationError(self.error_messages["no_role"], code="no_role")


class RoleField(forms.ChoiceField):
    """One of the three roles, or none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            choices=ROLE_CHOICES,
            required=False,
            widget=UnfoldAdminSelectWidget(),
            help_text="Admins configure; support retries and discards; viewers only look.",
            **kwargs,
        )


class NewUserForm(UserCreationForm):  # type: ignore[misc]
    """A person with a first password and a role."""

    role = RoleField(initial="viewer")

    class Meta:
        model = User
        fields = ["username", "email"]


class UserForm(forms.ModelForm):  # type: ignore[type-arg]
    """A person; the last administrator keeps the role, or nobody could give it back."""

    role = RoleField()

    class Meta:
        model = User
        fields = ["username", "email", "is_active"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        role = self.instance.get_role()
        self.initial.setdefault("role", role if role in ROLES else "")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        stays = cleaned.get("role") == "admin" and cleaned.get("is_active")
        if not stays and is_last_admin(self.instance):
            raise ValidationError(
                "This is the last administrator: give another one the role first."
            )
        return cleaned


def is_last_admin(user: User) -> bool:
    """Whether nobody else could administer without this user."""
    others = User.objects.filter(groups__name="admin", is_active=True, is_staff=True)
    return user.get_role() == "admin" and not others.exclude(pk=user.pk).exists()


def set_role(user: User, role: str) -> None:
    """Exactly this role; without one nobody signs in."""
    if role:
        user.give_role(role)
        return
    user.groups.clear()
    User.objects.filter(pk=user.pk).update(is_staff=False)


class TokenForm(forms.ModelForm):  # type: ignore[type-arg]
    """A token for oneself."""

    name = forms.CharField(
        max_length=100,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Which script or machine uses it.",
    )
    scopes = forms.MultipleChoiceField(
        choices=SCOPES, widget=UnfoldAdminCheckboxSelectMultipleWidget()
    )
    days = forms.ChoiceField(
        label="Works for",
        choices=LIFETIMES,
        required=False,
        initial="90",
        widget=UnfoldAdminSelectWidget(),
    )

    class Meta:
        model = ApiToken
        fields = ["name"]

    def issue(self, user: User) -> tuple[ApiToken, str]:
        """The row and the text that is shown once."""
        days = self.cleaned_data["days"]
        lifetime = timedelta(days=int(days)) if days else None
        return ApiToken.issue(
            user, self.cleaned_data["name"], self.cleaned_data["scopes"], lifetime
        )
