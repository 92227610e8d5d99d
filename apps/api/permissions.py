"""What the asker may do: the token's scope and the user's role must both allow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps.accounts.models import ApiToken


@dataclass(frozen=True)
class Needs:
    """What one action of a view asks for: a token's scope and a permission of the role."""

    scope: str
    permission: str


class RolePermission(BasePermission):
    """Reads the view's table `access`: {action: Needs}. An action that it lacks is refused."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not (request.user and request.user.is_authenticated):
            return False
        action = getattr(view, "action", None)
        if action in (None, "metadata"):
            return True  # the method (or OPTIONS) does not exist here: the view answers 405
        access: Mapping[str, Needs] = getattr(view, "access", {})
        if action not in access:
            raise PermissionDenied("Nobody may do this.")
        check_access(request, access[action])
        return True


def check_access(request: Request, needs: Needs) -> None:
    """Raises PermissionDenied that names the scope or the permission which is missing."""
    token = request.auth
    if isinstance(token, ApiToken) and not token.has_scope(needs.scope):
        raise PermissionDenied(f"The token lacks the scope “{needs.scope}”.")
    if not request.user.has_perm(needs.permission):
        raise PermissionDenied(f"Your role lacks the permission “{needs.permission}”.")
