"""The limits of a lane, shared by all workers: calls and tokens a minute, calls at once.

A call that finds no room is told when its turn comes: its workflow sleeps until then, without an
attempt and without a worker. What the provider says itself (`Retry-After`, `x-ratelimit-*`) holds
for all workers; a 429 halves the rate, which then grows back within minutes.

While the queue server does not answer, each process keeps the limits for itself: they are then as
many times larger as there are workers, and a provider that minds says so.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.utils import timezone

from apps.llm.lanes import Lane
from apps.llm.limit_headers import SeenLimits
from apps.llm.limit_scripts import RENEW, SETTLE, TAKE
from apps.llm.models import LLMCall, Subject
from apps.llm.provider import (
    Completion,
    LLMError,
    NotConfigured,
    ProviderUnreachable,
    RateLimited,
)
from apps.pipelines.prepare import PreparedRequest
from apps.streams.errors import QueueError
from apps.streams.limits import Ask, OwnBuckets, Rate
from workers.contracts import Verdict

SEAT_MARGIN_S = 15.0  # the seat of a worker that died is free again so long after the timeout
CHARS_PER_TOKEN = 4
# Where no limit is set, a rate is lowered from what went until now, or from this.
LEAST_BASE_PER_MINUTE = 600
SEAT_WAIT_S = 1.0
logger = logging.getLogger(__name__)

_own_rates = OwnBuckets()
_own_seats: Counter[str] = Counter()
_own_lock = threading.Lock()


class LimitReached(LLMError):
    """The limits have no room now: the event waits for its turn, and uses no attempt."""

    code = "llm_limit_reached"
    verdict = Verdict.WAIT
    message = "The limits of the model are used up for the moment: the event waits for its turn."
    paused_s = 0.0  # for which the provider itself wants no call


@dataclass(frozen=True)
class Place:
    """Room that was taken for one call."""

    lane: Lane
    event: Subject
    seat: str
    tokens: int
    taken_at: str  # by the queue server's clock; empty: this process counts for itself
    began_s: float  # Unix time: another process may settle it

    @classmethod
    def take_up(cls, lane: Lane, event: Subject, kept: dict[str, Any], began_s: float) -> Place:
        """The place of a call that was begun elsewhere, from what `as_json` said of it."""
        seat, at = str(kept.get("seat", "")), str(kept.get("taken_at", ""))
        return cls(lane, event, seat, int(kept.get("tokens", 0)), at, began_s)

    def as_json(self) -> dict[str, Any]:
        """Plain data. Empty where this process counts for itself: nobody else can settle that."""
        if not self.taken_at:
            return {}
        return {"seat": self.seat, "tokens": self.tokens, "taken_at": self.taken_at}

    def hand_over(self, seen: SeenLimits) -> None:
        """The call goes on without this process; obey what the provider said when it took it."""
        pause_s = seen.get_pause_s(self.tokens) if settings.LLM_ADAPTIVE else 0.0
        if self.taken_at and pause_s:
            replace(self, seat="", tokens=0)._settle(0, 0.0, pause_s, False)
        self._stand_up()

    def hold_on(self) -> None:
        """The call goes on: the seat is kept for as long again."""
        if not (self.taken_at and self.lane.limits.concurrency):
            return
        try:
            RENEW.run(_get_keys(self.lane), [self.seat, settings.LLM_TIMEOUT_S + SEAT_MARGIN_S])
        except QueueError as error:
            logger.warning("A seat was not kept: %s", error)

    def settle(self, outcome: Completion | LLMError, cost_usd: Decimal) -> None:
        """Count what was really used; obey what the provider says about its limits."""
        if isinstance(outcome, NotConfigured | ProviderUnreachable):
            self.give_back()
            return
        pause_s = outcome.seen.get_pause_s(self.tokens) if settings.LLM_ADAPTIVE else 0.0
        is_limited = isinstance(outcome, RateLimited) and settings.LLM_ADAPTIVE
        if self.taken_at and (self.lane.limits.are_set or pause_s or is_limited):
            seconds = time.time() - self.began_s if isinstance(outcome, Completion) else 0.0
            self._settle(_get_used(outcome, self.tokens), seconds, pause_s, is_limited)
        self._stand_up()

    def give_back(self) -> None:
        """Nothing was sent."""
        if self.taken_at and self.lane.limits.are_set:
            self._settle(0, 0.0, 0.0, False, was_sent=False)
        self._stand_up()

    def _settle(
        self, used: int, seconds: float, pause_s: float, is_limited: bool, was_sent: bool = True
    ) -> None:
        limits = self.lane.limits
        base = _get_base(self.lane) if is_limited and not limits.requests_per_minute else 0
        try:
            SETTLE.run(
                _get_keys(self.lane),
                [
                    *(self.seat, self.tokens, used),
                    *(limits.requests_per_minute, limits.tokens_per_minute, int(not was_sent)),
                    *(seconds, pause_s, int(is_limited), self.taken_at, base, self.event.pk.hex),
                ],
            )
        except QueueError as error:
            # The seat ends by itself, and tokens were counted too many rather than too few.
            logger.warning("A call was not settled with its limits: %s", error)

    def _stand_up(self) -> None:
        if not self.taken_at:
            with _own_lock:
                _own_seats[self.lane.id] -= 1


def take(lane: Lane, event: Subject, request: PreparedRequest) -> Place:
    """Room for one call, in every limit or in none. Raises LimitReached with the time to wait."""
    tokens = estimate_tokens(request)
    seat = uuid.uuid4().hex
    limits = lane.limits
    try:
        granted, at, *paused_s = TAKE.run(
            _get_keys(lane),
            [
                *(event.pk.hex, tokens),
                *(limits.requests_per_minute, limits.tokens_per_minute, limits.concurrency),
                *(seat, settings.LLM_TIMEOUT_S + SEAT_MARGIN_S),
            ],
        )
    except QueueError:
        _take_alone(lane, tokens)
        return Place(lane, event, seat, tokens, "", time.time())
    if not granted:
        refusal = LimitReached(retry_after_s=float(at))
        refusal.paused_s = float(paused_s[0])
        raise refusal
    return Place(lane, event, seat, tokens, at.decode(), time.time())


def estimate_tokens(request: PreparedRequest) -> int:
    """Before the call: the prompt's characters / 4, and all the answer that is allowed."""
    body = request.body
    chars = sum(len(str(message.get("content", ""))) for message in body["messages"])
    answer = body.get("max_tokens") or body.get("max_completion_tokens") or 0
    return chars // CHARS_PER_TOKEN + int(answer)


def _take_alone(lane: Lane, tokens: int) -> None:
    limits = lane.limits
    asked = []
    if limits.requests_per_minute:
        calls = limits.requests_per_minute
        asked.append(Ask(f"{lane.id}:calls", Rate(calls, max(1, calls // 60))))
    if limits.tokens_per_minute:
        rate = Rate(limits.tokens_per_minute, max(tokens, limits.tokens_per_minute / 60))
        asked.append(Ask(f"{lane.id}:tokens", rate, tokens))
    with _own_lock:
        is_full = bool(limits.concurrency) and _own_seats[lane.id] >= limits.concurrency
        wait_s = SEAT_WAIT_S if is_full else _own_rates.take(tuple(asked))
        if not wait_s:
            _own_seats[lane.id] += 1
            return
    # Apart, not all at once; nobody else knows of us.
    raise LimitReached(retry_after_s=wait_s * (1 + random.random()))  # noqa: S311 - no secret


def _get_used(outcome: Completion | LLMError, taken: int) -> int:
    used = outcome.input_tokens + outcome.output_tokens if isinstance(outcome, Completion) else 0
    return used or taken  # not every server tells


def _get_base(lane: Lane) -> int:
    """Calls a minute that went until now."""
    since = timezone.now() - timedelta(minutes=1)
    answered = LLMCall.objects.filter(answered_at__gte=since, model=lane.model, batch=None).count()
    return max(LEAST_BASE_PER_MINUTE, answered)


def _get_keys(lane: Lane) -> list[str]:
    return [f"pipeline:llm:{name}:{lane.id}" for name in ("lane", "turns", "seats")]
