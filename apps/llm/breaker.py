"""The circuit breaker of a lane: a provider that fails is left alone, and events wait.

Opens after LLM_BREAKER_FAILURES calls in a row that gave no answer (429, 5xx, unreachable, outcome
unknown). From LLM_BREAKER_PAUSE_S on, one call is let through; its success closes the breaker, its
failure keeps it open as long again. A 4xx other than 429 is an answer: the provider works.

The state is one hash on the first shard's server, so that all workers see the same. While that
server does not answer, every call may leave, and its failures are counted nowhere.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.conf import settings

from apps.dashboard.live import announce
from apps.llm.lanes import Lane
from apps.llm.limit_headers import SeenLimits
from apps.llm.metrics import BREAKER_CHANGES
from apps.llm.provider import (
    Completion,
    LLMError,
    NotConfigured,
    OutcomeUnknown,
    ProviderFailed,
    ProviderUnreachable,
    RateLimited,
)
from apps.streams.atomic import Script
from apps.streams.errors import QueueError
from workers.contracts import Verdict

FAILURES = (RateLimited, ProviderFailed, ProviderUnreachable, OutcomeUnknown)
# Of the calls that wait, the first comes for the probe, and the others so much apart: what wakes
# all at once would keep dispatcher and workers from everything else.
SPREAD_S = 0.05
KEEP_S = 7 * 86_400
PROBE_MARGIN_S = 15.0
INDEX = "pipeline:llm:breakers"
OUTCOMES = "pipeline:llm:outcomes"  # by provider: when its last call ended, and the machine word
logger = logging.getLogger(__name__)

# KEYS: the breaker. ARGV: probe token, seconds a probe may take, spread.
# {'go', 0}, {'probe', 0} or {'wait', seconds}.
ASK = Script("""
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local opened, probe_at, probe_until, book = unpack(redis.call(
  'HMGET', KEYS[1], 'opened', 'probe_at', 'probe_until', 'book'))
if not opened then return {'go', '0'} end
probe_at, probe_until = tonumber(probe_at), tonumber(probe_until or 0)
if now >= probe_at and now >= probe_until then
  redis.call('HSET', KEYS[1], 'probe', ARGV[1], 'probe_until', now + tonumber(ARGV[2]))
  return {'probe', '0'}
end
local turn = math.max(tonumber(book or 0), probe_at, now + 1)
redis.call('HSET', KEYS[1], 'book', turn + tonumber(ARGV[3]))
return {'wait', string.format('%.3f', turn - now)}
""")

# KEYS: the breaker, the index, the outcomes. ARGV: 1 where it failed, probe token, failures that
# open it, pause, code, provider, model, id, seconds it is kept. 'opened', 'closed', or '' where
# nothing changed.
REPORT = Script("""
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local failed, pause = ARGV[1] == '1', tonumber(ARGV[4])
redis.call('HSET', KEYS[3], ARGV[6], string.format('%.3f %s', now, ARGV[5]))
local opened, probe = unpack(redis.call('HMGET', KEYS[1], 'opened', 'probe'))
if opened then
  if ARGV[2] == '' or probe ~= ARGV[2] then return '' end
  if not failed then
    redis.call('DEL', KEYS[1])
    redis.call('SREM', KEYS[2], ARGV[8])
    return 'closed'
  end
  redis.call('HSET', KEYS[1], 'probe', '', 'probe_until', 0, 'probe_at', now + pause,
    'code', ARGV[5])
  redis.call('EXPIRE', KEYS[1], ARGV[9])
  return ''
end
if not failed then
  if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('DEL', KEYS[1]) end
  return ''
end
local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
redis.call('EXPIRE', KEYS[1], ARGV[9])
if failures < tonumber(ARGV[3]) then return '' end
redis.call('HSET', KEYS[1], 'opened', now, 'probe_at', now + pause, 'code', ARGV[5],
  'provider', ARGV[6], 'model', ARGV[7])
redis.call('SADD', KEYS[2], ARGV[8])
return 'opened'
""")

# KEYS: the breaker. ARGV: probe token. The next call may be the probe.
GIVE_BACK = Script("""
if redis.call('HGET', KEYS[1], 'probe') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'probe', '', 'probe_until', 0)
end
""")

# KEYS: the index. Of each open breaker: id, provider, model, opened, probe_at, code.
FIND_OPEN = Script("""
local found = {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local row = redis.call('HMGET', 'pipeline:llm:breaker:' .. id,
    'provider', 'model', 'opened', 'probe_at', 'code')
  if row[3] then
    table.insert(row, 1, id)
    table.insert(found, row)
  else
    redis.call('SREM', KEYS[1], id)
  end
end
return found
""")

# KEYS: the outcomes. Names and what is told of them, in turn.
FIND_OUTCOMES = Script("""return redis.call('HGETALL', KEYS[1])""")

# KEYS: the breaker, the index. ARGV: id. 1 where it was open.
CLOSE = Script("""
if not redis.call('HGET', KEYS[1], 'opened') then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
return 1
""")


class BreakerOpen(LLMError):
    """The provider has failed too often: the event waits, and uses no attempt."""

    code = "llm_breaker_open"
    verdict = Verdict.WAIT
    message = "The model has failed several times in a row: it is asked again after a pause."


@dataclass(frozen=True)
class OpenBreaker:
    """A breaker that lets nothing through until its probe succeeds."""

    id: str  # 16 hex digits
    provider: str
    model: str
    since: datetime
    probe_at: datetime  # when the next call may try
    code: str  # machine word of the last failure

    def as_json(self) -> dict[str, str]:
        """Plain data, times as ISO 8601."""
        return {
            "id": self.id,
            "provider": self.provider,
            "model": self.model,
            "since": self.since.isoformat(),
            "probe_at": self.probe_at.isoformat(),
            "code": self.code,
        }


@dataclass(frozen=True)
class Passage:
    """Leave through a lane's breaker; `probe` is empty where it is closed."""

    lane: Lane
    probe: str = ""

    def settle(self, outcome: Completion | LLMError, cost_usd: Decimal) -> None:
        """Count the failure, or begin to count anew."""
        if isinstance(outcome, NotConfigured):
            self.give_back()
            return
        failed = isinstance(outcome, FAILURES)
        if failed and self.probe and isinstance(outcome, LLMError):
            _spare_the_probe(outcome)
        code = outcome.code if isinstance(outcome, LLMError) else ""
        _try_to(lambda: _report(self.lane, self.probe, failed, code))

    def as_json(self) -> dict[str, Any]:
        """Plain data, for whoever settles it."""
        return {"probe": self.probe} if self.probe else {}

    def hand_over(self, seen: SeenLimits) -> None:
        """That the provider took the request says nothing yet: its answer will."""

    def hold_on(self) -> None:
        """A probe that takes long gives way to another."""

    def give_back(self) -> None:
        """Nothing was sent: another call may be the probe."""
        if self.probe:
            _try_to(lambda: GIVE_BACK.run([_get_key(self.lane.id)], [self.probe]))


def ask(lane: Lane, *, books: bool = True) -> Passage:
    """Leave for one call. Raises BreakerOpen with the time until its turn to try.

    Who does not come back at that time, as another model stands in, `books` none.
    """
    if not settings.LLM_BREAKER_FAILURES:
        return Passage(lane)
    token = uuid.uuid4().hex
    probe_s = settings.LLM_TIMEOUT_S + PROBE_MARGIN_S
    try:
        word, wait_s = ASK.run([_get_key(lane.id)], [token, probe_s, SPREAD_S if books else 0])
    except QueueError:
        return Passage(lane)
    if word == b"wait":
        raise BreakerOpen(retry_after_s=float(wait_s))
    return Passage(lane, token if word == b"probe" else "")


def find_open() -> list[OpenBreaker]:
    """Every breaker that is open, longest ago first. Raises QueueError."""
    rows = [[part.decode() for part in row] for row in FIND_OPEN.run([INDEX], [])]
    found = [
        OpenBreaker(id, provider, model, _read_time(since), _read_time(probe_at), code)
        for id, provider, model, since, probe_at, code in rows
    ]
    return sorted(found, key=lambda breaker: breaker.since)


def find_outcomes() -> dict[str, tuple[datetime, str]]:
    """By provider: when its last call ended, and its machine word ("" for an answer).

    Raises QueueError.
    """
    told = [part.decode() for part in FIND_OUTCOMES.run([OUTCOMES], [])]
    split = {name: text.partition(" ") for name, text in zip(told[::2], told[1::2], strict=True)}
    return {name: (_read_time(at), code) for name, (at, _, code) in split.items()}


def close(id: str) -> bool:
    """Let calls through again; False where it is not open. Raises QueueError."""
    closed = bool(CLOSE.run([_get_key(id), INDEX], [id]))
    if closed:
        _tell("closed", id)
    return closed


def _spare_the_probe(error: LLMError) -> None:
    # That the provider still fails is not this event's fault, and it may be asked to probe again.
    if error.verdict == Verdict.FAILED:
        error.verdict = Verdict.WAIT
        error.retry_after_s = max(error.retry_after_s or 0.0, settings.LLM_BREAKER_PAUSE_S)


def _report(lane: Lane, probe: str, failed: bool, code: str) -> None:
    threshold = settings.LLM_BREAKER_FAILURES
    if not threshold:
        return
    id = lane.id
    change = REPORT.run(
        [_get_key(id), INDEX, OUTCOMES],
        [
            *(int(failed), probe, threshold, settings.LLM_BREAKER_PAUSE_S),
            *(code, lane.provider, lane.model, id, KEEP_S),
        ],
    )
    if change:
        _tell(change.decode(), str(lane))


def _tell(change: str, which: str) -> None:
    BREAKER_CHANGES.labels(change).inc()
    announce("parts", "figures")
    logger.warning("The circuit breaker of %s is %s.", which, change)


def _try_to(work: Callable[[], object]) -> None:
    try:
        work()
    except QueueError as error:
        logger.warning("The circuit breaker was not told of a call: %s", error)


def _get_key(id: str) -> str:
    return f"pipeline:llm:breaker:{id}"


def _read_time(seconds: str) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)
