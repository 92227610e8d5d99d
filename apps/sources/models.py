"""Sources of events and their signing secrets."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

from apps.pipelines.models import Pipeline
from apps.sources.changes import announce_change
from apps.sources.rules import compare
from apps.streams.depth import get_depths
from apps.streams.spool.status import get_status
from apps.vault.fields import EncryptedTextField

PAUSE_HEARD = timedelta(seconds=10)
USE_NOTED_AFTER = timedelta(seconds=60)
COUNTED_EVENTS = 10_000


class SourceInUse(Exception):
    """Deleting it now could strand accepted events. The text says what to do first."""

    code = "source_in_use"
    permanent = False
    retry_after_s: float | None = None


class Source(models.Model):
    """A webhook endpoint: `POST /hooks/<slug>`."""

    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
    scheme = models.CharField(max_length=40)
    options = models.JSONField(default=dict, blank=True)
    # See apps.sources.rules. The default stands in the database too: during an upgrade an older
    # release may still make a source.
    rules = models.JSONField(default=dict, db_default={}, blank=True, editable=False)
    pipeline = models.ForeignKey(Pipeline, on_delete=models.PROTECT, related_name="sources")
    max_body_bytes = models.PositiveIntegerField(
        null=True, blank=True, help_text="Largest body; empty: MAX_BODY_BYTES."
    )
    paused_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        transaction.on_commit(announce_change)

    @classmethod
    def find_free_slug(cls, wanted: str) -> str:
        """`wanted`, or with the first number behind it that no source has yet."""
        taken = set(cls.objects.filter(slug__startswith=wanted).values_list("slug", flat=True))
        names = (f"{wanted}-{number}" if number > 1 else wanted for number in count(1))
        return next(name for name in names if name not in taken)

    def check_deletable(self) -> None:
        """Raises SourceInUse while an event of it may lie in the queue: without its source it
        could never be stored. Every ingest process has heard of a pause after PAUSE_HEARD.
        """
        if self.paused_at is None or timezone.now() - self.paused_at < PAUSE_HEARD:
            seconds = PAUSE_HEARD.seconds
            raise SourceInUse(f"Pause the source first, and wait {seconds} s before deleting it.")
        depths = [shard.depth for shard in get_depths()]
        spool = get_status()
        waits_in_spool = spool is not None and (spool.events or spool.bytes)
        if waits_in_spool or any(not depth or depth.length or depth.buried for depth in depths):
            raise SourceInUse(
                "The queue is not known to be empty, and an event of this source may lie in it: "
                "delete the source when all events are stored."
            )

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """As Django's; raises SourceInUse, see check_deletable."""
        if not self.events.exists():  # with events, the database refuses by itself
            self.check_deletable()
        deleted = super().delete(*args, **kwargs)
        transaction.on_commit(announce_change)
        return deleted

    def pause(self) -> bool:
        """Refuse events from now on; False if it was paused already."""
        return self._set_paused(Q(paused_at=None), timezone.now())

    def resume(self) -> bool:
        """Accept events again; False if it was not paused."""
        return self._set_paused(~Q(paused_at=None), None)

    def _set_paused(self, before: Q, at: datetime | None) -> bool:
        changed = type(self).objects.filter(before, pk=self.pk).update(paused_at=at)
        if changed:
            self.paused_at = at
            transaction.on_commit(announce_change)
        return bool(changed)

    def change_rules(self, rules: dict[str, Any]) -> dict[str, list[Any]]:
        """Put these (`Rules.get_changed`) in place of all rules; what differs, as `compare`."""
        with transaction.atomic():
            before = type(self).objects.select_for_update().values_list("rules", flat=True)
            changes = compare(before.get(pk=self.pk), rules)
            self.rules = rules
            if changes:
                self.save(update_fields=["rules", "updated_at"])
        return changes

    def get_active_secrets(self) -> list[Secret]:
        """Secrets that verify now, oldest first (their order is the verifier's secret_index)."""
        return list(self.secrets.active().order_by("created_at", "pk"))

    def rotate(self, secret: Secret, others_end_at: datetime | None) -> None:
        """Save a new secret beside the active ones, which end at that time unless they do before.

        None: they go on until somebody retires them.
        """
        with transaction.atomic():
            if others_end_at is not None:
                endless = Q(ends_at=None) | Q(ends_at__gt=others_end_at)
                self.secrets.active().filter(endless).update(ends_at=others_end_at)
            secret.source = self
            secret.save()

    def count_verified(self, since: datetime) -> dict[int | None, int]:
        """How many events each secret has verified since then, of the newest COUNTED_EVENTS."""
        newest = self.events.filter(received_at__gte=since).order_by("-received_at")
        return dict(Counter(newest.values_list("secret_id", flat=True)[:COUNTED_EVENTS]))


class SecretQuerySet(models.QuerySet["Secret"]):
    def active(self) -> SecretQuerySet:
        now = timezone.now()
        return self.filter(Q(ends_at=None) | Q(ends_at__gt=now), starts_at__lte=now)


class SecretState(models.TextChoices):
    WAITING = "waiting", "Waits to start"
    ACTIVE = "active", "Active"
    ENDING = "ending", "Ends soon"
    RETIRED = "retired", "Retired"


class Secret(models.Model):
    """A signing secret; several can be active at once, so that rotation needs no downtime."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="secrets")
    value = EncryptedTextField()
    name = models.CharField(max_length=80, blank=True, default="", db_default="")
    created_at = models.DateTimeField(auto_now_add=True)
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField(null=True, blank=True)
    # When the last event came that it verified; kept by the dispatcher, a minute late at most.
    last_used_at = models.DateTimeField(null=True, editable=False)

    objects = SecretQuerySet.as_manager()

    class Meta:
        ordering = ["created_at"]
        permissions = [("reveal_secret", "Can see a secret's value")]
        constraints = [
            models.CheckConstraint(
                name="secret_ends_after_start",
                condition=Q(ends_at=None) | Q(ends_at__gte=F("starts_at")),
            )
        ]

    def __str__(self) -> str:
        return f"secret {self.pk} of {self.source.slug}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        transaction.on_commit(announce_change)

    @property
    def label(self) -> str:
        """What people call it: its number, and its name where it has one. Nothing of its value."""
        return f"Secret {self.pk} ({self.name})" if self.name else f"Secret {self.pk}"

    @property
    def state(self) -> SecretState:
        """Where it stands now; one that ends is active until then."""
        now = timezone.now()
        if self.ends_at is not None and self.ends_at <= max(now, self.starts_at):
            return SecretState.RETIRED
        if self.starts_at > now:
            return SecretState.WAITING
        return SecretState.ENDING if self.ends_at else SecretState.ACTIVE

    @property
    def is_active(self) -> bool:
        return self.state in (SecretState.ACTIVE, SecretState.ENDING)

    def retire(self) -> bool:
        """Stop verifying with it now; False if it had ended already."""
        return self._end(timezone.now())

    def end_at(self, at: datetime | None) -> bool:
        """Let it verify until then, None: until it is retired; False if it had ended already."""
        return self.ends_at == at or self._end(at)

    def rename(self, name: str) -> None:
        """Without a look at anything else: another may be giving it an end."""
        type(self).objects.filter(pk=self.pk).update(name=name)
        self.name = name

    def _end(self, at: datetime | None) -> bool:
        end = max(at, self.starts_at) if at else None  # one of the future ends as it begins
        if self.state == SecretState.RETIRED or self.ends_at == end:
            return False
        # Not by the clock: of two who retire at once, the second finds another end than it saw.
        as_seen = type(self).objects.filter(pk=self.pk, ends_at=self.ends_at)
        changed = bool(as_seen.update(ends_at=end))
        if changed:
            self.ends_at = end
            transaction.on_commit(announce_change)
        return changed

    @classmethod
    def note_use(cls, pk: int, at: datetime) -> None:
        """It verified an event that came then; written no more often than each USE_NOTED_AFTER."""
        stale = Q(last_used_at=None) | Q(last_used_at__lt=at - USE_NOTED_AFTER)
        cls.objects.filter(stale, pk=pk).update(last_used_at=at)
