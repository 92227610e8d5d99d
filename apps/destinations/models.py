"""Where results go, and the built-in inbox."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.vault.fields import EncryptedTextField


class Destination(models.Model):
    """An address that results are delivered to."""

    class Kind(models.TextChoices):
        HTTP = "http", "HTTP endpoint"
        INBOX = "inbox", "Built-in inbox"

    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    url = models.URLField(max_length=2000, blank=True)
    secret = EncryptedTextField(
        blank=True, help_text="Signs each delivery (Standard Webhooks). Starts with whsec_."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="http_destination_has_url", condition=~Q(kind="http") | ~Q(url="")
            )
        ]

    def __str__(self) -> str:
        return self.name


class InboxItem(models.Model):
    """A result that was delivered to a built-in inbox: one an event."""

    destination = models.ForeignKey(Destination, on_delete=models.CASCADE, related_name="items")
    event_id = models.UUIDField()
    answer = models.JSONField()
    delivered_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-delivered_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["destination", "event_id"], name="inbox_item_once_per_event"
            )
        ]

    def __str__(self) -> str:
        return f"evt_{self.event_id.hex}"
