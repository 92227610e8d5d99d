"""Forms of people and their tokens."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm


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
