"""Samples: payloads to try a draft on that were never events."""

from __future__ import annotations

import json
import re
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.events.ids import new_event_id
from apps.events.payload import get_digest, pretty_json, read_excerpt
from apps.pipelines.payload import PrepareError, read_payload

if TYPE_CHECKING:
    from apps.pipelines.models import Pipeline

MAX_KEPT = 100  # of one pipeline
MAX_BYTES = 1_048_576
NAME_MAX_CHARS = 120
JSON = "application/json"
PUBLIC_ID = re.compile(r"smp_[0-9a-f]{32}")


class SampleRefused(ValueError):
    """It can't be a sample; `str()` is a sentence for a form."""

    code = "sample_refused"
    permanent = True
    retry_after_s: float | None = None


class Sample(models.Model):
    """A payload of a pipeline, under the same redaction and in the same ledger as an event's.

    It is no event: no list, figure or destination knows of it. The same body is one sample of a
    pipeline, so that its calls are paid once.
    """

    class Origin(models.TextChoices):
        READY = "ready", "Of the ready pipeline"
        OWN = "own", "Pasted"
        EVENT = "event", "Copy of an event"

    run = 1  # as an event's: a sample is never retried
    source_id: int | None = None  # no budget of a source applies

    id = models.UUIDField(primary_key=True, default=new_event_id, editable=False)
    pipeline = models.ForeignKey(
        "pipelines.Pipeline", on_delete=models.CASCADE, related_name="samples"
    )
    name = models.CharField(max_length=NAME_MAX_CHARS)
    origin = models.CharField(max_length=10, choices=Origin.choices, default=Origin.OWN)
    raw = models.BinaryField()
    content_type = models.CharField(max_length=100, blank=True, default=JSON)
    digest = models.CharField(max_length=64)  # of type and body
    # What the answer should say: some of its fields, or the whole of another one.
    expected = models.JSONField(null=True)
    # None: listed until a person removes it. Otherwise it is in no list, and stays until then
    # because calls were paid for it.
    kept_until = models.DateTimeField(null=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["created_at", "id"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["pipeline", "digest"], name="sample_body_once")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def public_id(self) -> str:
        return f"smp_{self.id.hex}"

    @property
    def is_labelled(self) -> bool:
        return self.expected is not None

    @property
    def shown_body(self) -> str:
        text = bytes(self.raw).decode("utf-8", "replace")
        return pretty_json(text) or text

    @property
    def shown_expected(self) -> str:
        return pretty_json(self.expected) if self.is_labelled else ""

    @classmethod
    def find_kept(cls, pipeline: Pipeline, *, labelled: bool = False) -> QuerySet[Sample]:
        """Those that are listed, in the order in which they came."""
        kept = cls.objects.filter(pipeline=pipeline, kept_until=None)
        return kept.filter(expected__isnull=False) if labelled else kept

    @classmethod
    def find(cls, pipeline: Pipeline, public_id: str) -> Sample | None:
        """One that is listed, by its id."""
        if not PUBLIC_ID.fullmatch(public_id):
            return None
        return cls.find_kept(pipeline).filter(pk=uuid.UUID(hex=public_id[4:])).first()

    @classmethod
    def keep(cls, pipeline: Pipeline, author: Any, raw: bytes, **fields: Any) -> Sample:
        """List this body among the pipeline's samples. Raises SampleRefused.

        `fields` are name, origin, content_type and expected. A body that is a sample already
        stays the one that it is, under its new name.
        """
        with transaction.atomic():
            type(pipeline).objects.select_for_update().get(pk=pipeline.pk)
            sample = cls._put(pipeline, author, raw, fields)
            others = cls.find_kept(pipeline).exclude(pk=sample.pk)
            if others.count() >= MAX_KEPT:
                raise SampleRefused(f"A pipeline keeps {MAX_KEPT} samples: remove one first.")
            cls.objects.filter(pk=sample.pk).update(kept_until=None)
        sample.kept_until = None
        return sample

    @classmethod
    def use_once(cls, pipeline: Pipeline, author: Any, raw: bytes) -> Sample:
        """This JSON for one try, in no list. Raises SampleRefused.

        It is found again as long as what was paid for it is on record.
        """
        with transaction.atomic():
            type(pipeline).objects.select_for_update().get(pk=pipeline.pk)
            digest = _get_digest(raw, JSON)
            kept = cls.find_kept(pipeline).filter(digest=digest).first()
            return kept or cls._put(pipeline, author, raw, {"name": "Of one try"})

    @classmethod
    def _put(cls, pipeline: Pipeline, author: Any, raw: bytes, fields: dict[str, Any]) -> Sample:
        """Part of the caller's transaction, which holds the pipeline."""
        content_type = fields.get("content_type", JSON)
        check_body(raw, content_type)
        digest = _get_digest(raw, content_type)
        known = cls.objects.filter(pipeline=pipeline, digest=digest).first()
        sample = known or cls(pipeline=pipeline, digest=digest)
        if known is None:
            sample.created_by = author if getattr(author, "pk", None) else None
        sample.raw, sample.kept_until = raw, _get_end()
        for name, value in fields.items():
            setattr(sample, name, value)
        sample.name = sample.name.strip()[:NAME_MAX_CHARS] or describe(raw)
        sample.save()
        return sample

    def remove(self) -> bool:
        """Out of the list, and its body is gone at once. What was paid for it stays on record."""
        listed = Sample.objects.filter(pk=self.pk, kept_until=None)
        return bool(listed.update(kept_until=_get_end(), raw=b"", expected=None))

    @classmethod
    def find_outdated(cls) -> QuerySet[Sample]:
        """Those that nobody lists, and whose calls are as old as those of deleted events."""
        is_under_way = Q(llm_calls__state="intent")
        return cls.objects.filter(kept_until__lt=timezone.now()).exclude(is_under_way)


def check_body(raw: bytes, content_type: str = JSON) -> None:
    """Raises SampleRefused."""
    if not raw.strip():
        raise SampleRefused("There is no body: paste the JSON that an event would bring.")
    if len(raw) > MAX_BYTES:
        raise SampleRefused(f"A sample has at most {MAX_BYTES} bytes; this has {len(raw)}.")
    try:
        read_payload(raw, content_type)
    except PrepareError as error:
        raise SampleRefused(_locate(raw) or str(error)) from None


def _locate(raw: bytes) -> str:
    """Where it stops being JSON."""
    try:
        json.loads(raw.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        return f"It is not JSON: line {error.lineno}, column {error.colno}."
    except (ValueError, RecursionError):
        pass
    return ""


def describe(raw: bytes) -> str:
    """The beginning of a body, for a list."""
    return " ".join(read_excerpt(raw).split())[:60]


def _get_digest(raw: bytes, content_type: str) -> str:
    return get_digest(content_type.encode() + b"\n" + raw)


def _get_end() -> Any:
    return timezone.now() + timedelta(days=settings.RETENTION_DAYS)
