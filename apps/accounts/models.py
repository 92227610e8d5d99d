"""Users and the tokens with which scripts act for them."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.contrib.auth.models import AbstractUser, Group
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone

from apps.accounts.roles import ROLES, UnknownRole

SCOPES = (
    ("all", "Everything its user may do"),
    ("events:read", "Read events, attempts and figures"),
    ("events:write", "Retry and discard events"),
    ("config:read", "Read sources, pipelines and destinations"),
    ("config:write", "Change sources, pipelines and destinations"),
)
TOKEN_PREFIX = "pat_"  # noqa: S105 - the public beginning of a token, not one


class User(AbstractUser):
    """A person who signs in; what they may do comes from the groups admin, support, viewer."""

    def get_role(self) -> str:
        """The name of the strongest role, for display."""
        if self.is_superuser:
            return "admin"
        names = set(self.groups.values_list("name", flat=True))
        return next((role for role in ROLES if role in names), "none")

    def give_role(self, role: str) -> None:
        """Make `role` the only role of this user, and let them into the site.

        Raises UnknownRole. Groups that are no roles are left alone.
        """
        if role not in ROLES:
            raise UnknownRole(role)
        with transaction.atomic():
            self.groups.remove(*self.groups.filter(name__in=ROLES))
            self.groups.add(Group.objects.get(name=role))
            self.is_staff = True
            self.save(update_fields=["is_staff"])


class ApiToken(models.Model):
    """A bearer token: only its digest is stored, the token itself is shown once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @staticmethod
    def get_digest(token: str) -> str:
        return hashlib.sha256(token.encode()).hexdigest()

    @classmethod
    def issue(
        cls, user: User, name: str, scopes: list[str], lifetime: timedelta | None = None
    ) -> tuple[ApiToken, str]:
        """A new token: the row, and the text that is never shown again."""
        text = TOKEN_PREFIX + secrets.token_urlsafe(32)
        row = cls.objects.create(
            user=user,
            name=name,
            prefix=text[:8],
            digest=cls.get_digest(text),
            scopes=scopes,
            expires_at=timezone.now() + lifetime if lifetime else None,
        )
        return row, text

    @classmethod
    def find(cls, text: str) -> ApiToken | None:
        """The live token of an active user, or nothing."""
        now = timezone.now()
        return (
            cls.objects.select_related("user")
            .filter(digest=cls.get_digest(text), revoked_at=None, user__is_active=True)
            .exclude(expires_at__lte=now)
            .first()
        )

    def touch(self) -> None:
        """Note the use, at most once a minute, so that reads stay reads."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at > timedelta(minutes=1):
            type(self).objects.filter(pk=self.pk).update(last_used_at=now)

    def revoke(self) -> bool:
        """End the token now; False if it was ended already."""
        live = type(self).objects.filter(pk=self.pk, revoked_at=None)
        return bool(live.update(revoked_at=Now()))

    def has_scope(self, scope: str) -> bool:
        return "all" in self.scopes or scope in self.scopes
