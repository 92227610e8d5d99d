"""The ledger: one row for each paid request, written before it leaves."""

from __future__ import annotations

from typing import cast

from django.db import models
from django.db.models import Q

from apps.events.models import Event
from apps.llm.batch_models import LLMBatch
from apps.llm.budget_models import Budget, BudgetPeriod, BudgetWait
from apps.llm.cost_models import CostHour, DuplicateHour
from apps.llm.provider_models import Provider, ProviderModel
from apps.pipelines.models import Sample
from apps.pipelines.redaction.kinds import describe_counts

__all__ = [
    "Budget",
    "BudgetPeriod",
    "BudgetWait",
    "CostHour",
    "DuplicateHour",
    "LLMBatch",
    "LLMCall",
    "Provider",
    "ProviderModel",
    "Subject",
]


Subject = Event | Sample  # what a call is made for; a sample is only ever tried
OWN_STEPS = "llm"  # llm, llm#2, llm:repair; every other step is a trial


class LLMCallQuerySet(models.QuerySet["LLMCall"]):
    def own(self) -> LLMCallQuerySet:
        """Those that an event's own run made: a dry run or a backtest is never its answer."""
        return self.filter(step__startswith=OWN_STEPS)


class LLMCall(models.Model):
    """A request that is paid at most once: unique by event, step and hash of the request.

    One that a draft was tried with on a sample has that in place of the event.
    """

    class State(models.TextChoices):
        INTENT = "intent", "Sent, or about to be"
        BATCH = "batch", "Waits in a batch"
        ANSWERED = "answered", "Answered"
        REFUSED = "refused", "Refused by the provider"
        UNKNOWN = "unknown", "Nobody knows whether it was paid"

    event = models.ForeignKey(Event, null=True, on_delete=models.CASCADE, related_name="llm_calls")
    sample = models.ForeignKey(
        Sample, null=True, on_delete=models.CASCADE, related_name="llm_calls"
    )
    step = models.CharField(max_length=40, default="llm")
    request_hash = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=State.choices, default=State.INTENT)
    fence = models.PositiveIntegerField(default=1)  # grows with each request that may leave
    run = models.PositiveIntegerField(default=1)  # of the event, when the request left
    owner = models.CharField(max_length=120, blank=True)  # process that sends: host/pid/start
    # Where it went: the slug of a provider; empty is the provider of the settings.
    provider = models.CharField(max_length=60, blank=True, default="", db_default="")
    model = models.CharField(max_length=120)
    request = models.JSONField()
    masked = models.JSONField(default=dict, blank=True)  # how many values of each kind it hides
    answer = models.TextField(blank=True)
    problem = models.CharField(max_length=60, blank=True)  # why the answer can't be used
    provider_request_id = models.CharField(max_length=120, blank=True)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    cost_usd = models.DecimalField(max_digits=12, decimal_places=6, default=0)
    # The most this request may cost, and the budget periods (ids) that keep it: as reserved while
    # it is an intent, as spent where the outcome is unknown.
    reserved_micros = models.BigIntegerField(default=0, db_default=0)
    reserved_in = models.JSONField(null=True, blank=True)
    intended_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True)
    reused_count = models.PositiveIntegerField(default=0)
    # Of a call that may wait: until when its answer must be there; its batch, once it is in one.
    due_at = models.DateTimeField(null=True)
    batch = models.ForeignKey(LLMBatch, null=True, on_delete=models.SET_NULL, related_name="calls")
    batch_count = models.PositiveSmallIntegerField(default=0, db_default=0)  # in this run
    refusal = models.CharField(max_length=40, blank=True, default="", db_default="")  # of a batch
    saved_usd = models.DecimalField(max_digits=12, decimal_places=6, default=0, db_default=0)
    is_unread = models.BooleanField(default=False, db_default=False)  # its event has not seen it
    # A provider that works on it in the background: the id it is asked by, whether it may still be
    # at work or keep an answer, and what limits and breaker gave for as long as the call lasts.
    response_id = models.CharField(max_length=120, blank=True, default="", db_default="")
    is_response_open = models.BooleanField(default=False, db_default=False)
    kept_seat = models.JSONField(null=True, blank=True)
    missing_since = models.DateTimeField(null=True)  # the provider has not known the id since then

    objects = LLMCallQuerySet.as_manager()

    class Meta:
        ordering = ["intended_at"]
        verbose_name = "LLM call"
        constraints = [
            models.UniqueConstraint(
                fields=["event", "step", "request_hash"], name="llm_call_once_per_request"
            ),
            models.UniqueConstraint(
                fields=["sample", "step", "request_hash"], name="llm_call_once_per_sample"
            ),
            models.CheckConstraint(
                name="llm_call_has_one_subject",
                condition=Q(event__isnull=False, sample__isnull=True)
                | Q(event__isnull=True, sample__isnull=False),
            ),
            models.CheckConstraint(
                name="answered_call_has_time",
                condition=~Q(state="answered") | Q(answered_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["answered_at"], name="llm_call_answered"),
            models.Index(
                fields=["intended_at"], name="llm_call_in_batch", condition=Q(state="batch")
            ),
            models.Index(
                fields=["intended_at"],
                name="llm_call_in_background",
                condition=Q(is_response_open=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.state}"

    @property
    def subject(self) -> Subject:
        """What it was made for: constraints say that it is one of the two."""
        return cast("Subject", self.event or self.sample)

    @property
    def own_event(self) -> Event:
        """Of a call that an event's own run made: those are never for a sample."""
        return cast(Event, self.event)

    @property
    def mark(self) -> dict[str, str]:
        """Under which a provider that keeps its answers keeps this one."""
        return {
            "event": self.subject.public_id,
            "step": self.step,
            "request": self.request_hash,
        }

    @property
    def is_in_background(self) -> bool:
        """Whether the provider works on it, and anybody may ask for the answer by its id."""
        return self.state == self.State.INTENT and self.is_response_open

    @property
    def is_trial(self) -> bool:
        """Whether it was made for a dry run or a backtest."""
        return not self.step.startswith(OWN_STEPS)

    @property
    def is_repair(self) -> bool:
        """Whether it asked for a better answer instead of one that could not be used."""
        return self.step.startswith("llm:repair")

    @property
    def masked_in_words(self) -> str:
        """`3 e-mail addresses and 1 card number`; empty where nothing was masked."""
        return describe_counts(self.masked)
