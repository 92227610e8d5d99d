"""Pipelines: filter → transform → prompt → LLM → check → deliver, versioned."""

from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.core.serializers.json import DjangoJSONEncoder
from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.utils import timezone

from apps.destinations.models import Destination
from apps.pipelines.needs import LEAST, get_needed
from apps.pipelines.sample_models import Sample as Sample

NOTE_MAX_CHARS = 500
# All other fields of a version say what it does: they are what a draft holds and a diff compares.
ABOUT_A_VERSION = {"id", "pipeline", "number", "created_by", "created_at", "note", "needs"}


class DraftConflict(Exception):
    """Somebody else changed the draft, or published, since it was read; `str()` says which."""

    code = "draft_conflict"
    permanent = True
    retry_after_s: float | None = None


class DraftUnusable(ValueError):
    """The draft names something that is gone; `str()` is a sentence for a form."""

    code = "draft_unusable"
    permanent = True
    retry_after_s: float | None = None


class Pipeline(models.Model):
    """A named pipeline; what it does stands in its versions."""

    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
    current_version = models.ForeignKey(
        "PipelineVersion", null=True, editable=False, on_delete=models.RESTRICT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def publish(self, author: Any = None, **config: Any) -> PipelineVersion:
        """Make `config` (fields of PipelineVersion) the version that new events start with.

        `note` among them says why. A draft stays what it is: whoever publishes it sees that it
        began with an older version.
        """
        with transaction.atomic():
            # Two at once: the second waits here, then takes the next number.
            type(self).objects.select_for_update().get(pk=self.pk)
            latest = self.versions.order_by("-number").first()
            version = PipelineVersion.objects.create(
                pipeline=self,
                number=latest.number + 1 if latest else 1,
                created_by=author if getattr(author, "pk", None) else None,
                **config,
            )
            type(self).objects.filter(pk=self.pk).update(current_version=version)
        self.current_version = version
        return version

    def get_draft(self) -> PipelineDraft:
        """The draft, or one that is not saved yet and says what the current version says."""
        saved = PipelineDraft.objects.filter(pipeline=self).first()
        return saved or PipelineDraft.begin(self)

    def save_draft(self, author: Any, token: str, config: dict[str, Any]) -> PipelineDraft:
        """Let the draft say `config`, if it is still the one that has `token`.

        `config` is what `PipelineVersion.get_config` gives. Raises DraftConflict.
        """
        fresh = {
            "config": config,
            "token": secrets.token_hex(8),
            "edited_by": author if getattr(author, "pk", None) else None,
        }
        draft = self.get_draft()
        if draft.token != token:
            raise DraftConflict(draft.describe_conflict())
        if not draft.is_saved:
            # Two may begin one at once: the first has it.
            _, is_mine = PipelineDraft.objects.get_or_create(
                pipeline=self, defaults={**fresh, "based_on": draft.based_on}
            )
        else:
            mine = PipelineDraft.objects.filter(pk=draft.pk, token=token)
            is_mine = bool(mine.update(**fresh, edited_at=timezone.now()))
        saved = self.get_draft()
        if not is_mine:
            raise DraftConflict(saved.describe_conflict())
        return saved

    def discard_draft(self, token: str) -> None:
        """Raises DraftConflict where the draft is not the one that has `token`."""
        if not PipelineDraft.objects.filter(pipeline=self, token=token).delete()[0]:
            raise DraftConflict(self.get_draft().describe_conflict())

    def publish_draft(
        self, author: Any, token: str, *, replaces: int | None, note: str = ""
    ) -> PipelineVersion:
        """The draft with `token` becomes the next version, in place of version `replaces`.

        Raises DraftConflict where either is not so any more, and DraftUnusable.
        """
        with transaction.atomic():
            self._lock(replaces)
            draft = PipelineDraft.objects.filter(pipeline=self, token=token).first()
            if draft is None:
                raise DraftConflict(self.get_draft().describe_conflict())
            config = draft.get_version().get_values()
            self.discard_draft(token)
            return self.publish(author, **config, note=note)

    def roll_back(
        self, author: Any, number: int, *, replaces: int | None, note: str = ""
    ) -> PipelineVersion:
        """What version `number` says becomes the next version, in place of version `replaces`.

        Raises PipelineVersion.DoesNotExist, and DraftConflict as `publish_draft` does.
        """
        with transaction.atomic():
            self._lock(replaces)
            older = self.versions.get(number=number)
            said = f"Rolled back to v{number}" + (f": {note}" if note else "")
            return self.publish(author, **older.get_values(), note=said[:NOTE_MAX_CHARS])

    def _lock(self, current: int | None) -> None:
        """Nobody else publishes until the transaction ends. Raises DraftConflict."""
        locked = type(self).objects.select_for_update(of=("self",))
        found = locked.select_related("current_version").get(pk=self.pk).current_version
        number = found.number if found else None
        if number != current:
            raise DraftConflict(
                f"Version {number} was published meanwhile: look at what would change now."
            )


class PipelineVersion(models.Model):
    """What a pipeline does. Never changes: an event keeps the version it started with."""

    class OnUnknown(models.TextChoices):
        HOLD = "hold", "Hold the event for a person"
        CALL_AGAIN = "call_again", "Call again (may pay twice)"

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    # Of a worker: an older one lets the event wait (workers.contracts.UNDERSTANDS).
    needs = models.PositiveSmallIntegerField(default=LEAST, db_default=LEAST, editable=False)
    filter = models.TextField(
        blank=True, help_text="JMESPath over the payload; empty takes every event."
    )
    transform = models.TextField(
        blank=True, help_text="JMESPath that shapes the payload for the prompt; empty keeps it."
    )
    prompt = models.TextField(help_text="Text for the model; {{ path }} is replaced by its value.")
    # Providers are named by their slugs; empty is the provider of the settings.
    provider = models.CharField(max_length=60, blank=True, default="", db_default="")
    model = models.CharField(
        max_length=120, blank=True, help_text="Empty: the model of OPENAI_MODEL."
    )
    fallbacks = models.JSONField(
        default=list,
        db_default=models.Value([], models.JSONField()),
        blank=True,
        help_text="Asked in order where the model before is down: provider and model of each.",
    )
    output_schema = models.JSONField(
        default=dict, blank=True, help_text="JSON Schema that the answer must fit."
    )
    max_output_tokens = models.PositiveIntegerField(default=500)
    repair = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Ask once more, and pay for it, where an answer is not JSON or off the schema.",
    )
    redaction = models.JSONField(
        default=dict,
        blank=True,
        help_text="What is masked before the model sees it: kinds, countries, paths, patterns, "
        "reversible.",
    )
    approval = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        blank=True,
        help_text="Which answers wait for a person: every, number and below, rule; for how long "
        "(timeout_h), and what then (on_timeout).",
    )
    may_wait_h = models.PositiveSmallIntegerField(
        "hours an answer may wait",
        default=0,
        db_default=0,
        help_text="0: each call is made at once. Otherwise calls go in batches, at a lower price.",
    )
    on_unknown = models.CharField(max_length=20, choices=OnUnknown.choices, default=OnUnknown.HOLD)
    destination = models.ForeignKey(
        Destination, on_delete=models.PROTECT, related_name="pipeline_versions"
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    note = models.CharField(
        max_length=NOTE_MAX_CHARS, blank=True, default="", db_default="", help_text="Why."
    )

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["pipeline", "number"], name="pipeline_version_number_once"
            ),
            models.CheckConstraint(
                name="pipeline_version_number_positive", condition=Q(number__gte=1)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pipeline.slug} v{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise IntegrityError("A pipeline version never changes: publish a new one.")
        self.needs = max(self.needs, get_needed(self))
        super().save(*args, **kwargs)

    @classmethod
    def get_config_fields(cls) -> list[models.Field[Any, Any]]:
        """What a version does, field by field, in the order of the model."""
        return [field for field in cls._meta.concrete_fields if field.name not in ABOUT_A_VERSION]

    def get_values(self) -> dict[str, Any]:
        """What it does, as `publish` takes it. Raises DraftUnusable."""
        try:
            return {field.name: getattr(self, field.name) for field in self.get_config_fields()}
        except ObjectDoesNotExist as error:
            raise DraftUnusable(f"{error} Choose another one.") from None

    def get_config(self) -> dict[str, Any]:
        """What it does as plain JSON; other objects by their keys."""
        fields = self.get_config_fields()
        return {field.attname: field.value_from_object(self) for field in fields}


class PipelineDraft(models.Model):
    """What the next version may become. One a pipeline, changed in place, never run by an event.

    Who saves it names the token that he read: of two editors the second is told, and loses
    nothing of his text. The configuration is plain JSON, so that a field which a later release
    adds to a version needs no second place here.
    """

    pipeline = models.OneToOneField(Pipeline, on_delete=models.CASCADE, related_name="draft")
    based_on = models.ForeignKey(
        PipelineVersion, null=True, on_delete=models.CASCADE, related_name="+"
    )
    config = models.JSONField(encoder=DjangoJSONEncoder)
    token = models.CharField(max_length=32)  # a new one with each change
    edited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    edited_at = models.DateTimeField(auto_now=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.pipeline.slug} draft"

    @classmethod
    def begin(cls, pipeline: Pipeline) -> PipelineDraft:
        """Not saved. Its token tells which version it began with."""
        version = pipeline.versions.order_by("-number").first()
        return cls(
            pipeline=pipeline,
            based_on=version,
            config=version.get_config() if version else {},
            token=f"v{version.number if version else 0}",
        )

    @property
    def is_saved(self) -> bool:
        return not self._state.adding

    def get_version(self) -> PipelineVersion:
        """What it says as a version that is not saved: as good as one for a preview."""
        fields = {field.attname: field for field in PipelineVersion.get_config_fields()}
        known = {name: value for name, value in self.config.items() if name in fields}
        values = {name: fields[name].to_python(value) for name, value in known.items()}
        return PipelineVersion(pipeline=self.pipeline, number=0, **values)

    def describe_conflict(self) -> str:
        """For whoever comes with another token than this."""
        if not self.is_saved:
            return (
                f"The draft that you began with is no more: {self.based_on or 'nothing'} is "
                "published. Nothing was saved."
            )
        who = self.edited_by.get_username() if self.edited_by else "Somebody"
        return f"{who} has changed the draft since you opened it. Nothing was saved."
