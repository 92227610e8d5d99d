"""Who is asking: `Authorization: Bearer <token>`.

Wrong tokens are not throttled: a token has 256 random bits, so guessing is hopeless, and a limit
by address would let a stranger lock out the scripts behind the same proxy.
"""

from __future__ import annotations

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from apps.accounts.models import ApiToken, User


class TokenAuthentication(BaseAuthentication):
    """The user of a live token; the token itself becomes `request.auth`."""

    keyword = "Bearer"

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        keyword, _, text = request.headers.get("Authorization", "").partition(" ")
        if keyword.lower() != self.keyword.lower():
            return None
        token = ApiToken.find(text.strip())
        if token is None:
            raise AuthenticationFailed("This token is unknown, expired or revoked.")
        token.touch()
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return self.keyword
