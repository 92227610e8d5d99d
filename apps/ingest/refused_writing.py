"""Writes refused requests: explained, encrypted, each event once, bounded for each source."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, QuerySet, Sum
from django.utils import timezone

from apps.dashboard.live import announce
from apps.ingest.models import REASON_MAX_CHARS, RefusedRequest, State
from apps.ingest.refusals import Refusal
from apps.ingest.refused_content import pack
from apps.ingest.registry import SourceRow
from apps.sources.models import Secret, Source
from apps.sources.rules import Rules, WrongRules
from apps.sources.schemes import (
    Case,
    Request,
    SignatureRefused,
    WrongOptions,
    build_verifier,
    explain,
    get_id_headers,
)
from apps.vault.vault import VaultError, decrypt

# An explanation tries some ten signatures (up to 2 ms): of a flood's batch only so many get one.
EXPLAINED_OF_BATCH = 4
YIELD_S = 0.005  # after each, so that ingest has the interpreter again
DELETE_BATCH = 500

Key = tuple[int, str, str]
"""source id, code, digest: what makes two refused requests the same"""


@dataclass(frozen=True, slots=True)
class Refused:
    """A whole request to a known source, and why it was not taken in."""

    source: SourceRow
    request: Request
    error: Refusal | SignatureRefused
    address: str


@dataclass(slots=True)
class Group:
    """The same request, as often as it came."""

    first: Refused
    times: int = 0
    last_at: float = 0.0
    reason: str = field(default="")


def write(batch: Sequence[Refused], explained_max: int = EXPLAINED_OF_BATCH) -> None:
    """One transaction for all of them; no more than `explained_max` are looked at closely.

    Raises DatabaseError, VaultError.
    """
    groups = _group(batch)
    known = _find_known(groups)
    _explain([group for key, group in groups.items() if key not in known], explained_max)
    with transaction.atomic():
        # Locked, so that none is deleted meanwhile; without its key, or dispatchers would wait; in
        # order, or two of us might wait for each other.
        sources = Source.objects.select_for_update(no_key=True).order_by("pk")
        there = set(sources.filter(pk__in={key[0] for key in groups}).values_list("pk", flat=True))
        for key in known:
            _count_up(key, groups[key])
        new = [key for key in groups if key[0] in there and key not in known]
        # One statement: a row at a time would keep the interpreter from ingest for ten times as
        # long. Where another web process was first with the same request, its row stays.
        RefusedRequest.objects.bulk_create(
            [_build(key, groups[key]) for key in new], ignore_conflicts=True
        )
        for source_id in there:
            bound(source_id)
    announce("refused")


def _group(batch: Iterable[Refused]) -> dict[Key, Group]:
    groups: dict[Key, Group] = {}
    for refused in batch:
        key = (refused.source.pk, refused.error.code, digest(refused))
        group = groups.setdefault(key, Group(refused))
        group.times += 1
        group.last_at = max(group.last_at, refused.request.now)
    return groups


def digest(refused: Refused) -> str:
    """Tells the same event again: its body, and its id where the provider has a header for it.

    Keyed, so that it betrays nothing of a short body.
    """
    source, request = refused.source, refused.request
    try:
        names = get_id_headers(source.scheme, source.options)
    except WrongOptions:
        names = ()
    key = hashlib.sha256(settings.SECRET_KEY.encode()).digest()
    told = hashlib.blake2b(key=key, digest_size=16)
    for name in names:
        value = request.headers.get(name, b"")
        told.update(b"%d:%b" % (len(value), value))
    told.update(request.body)
    return told.hexdigest()


def _explain(groups: Iterable[Group], left: int) -> None:
    for group in groups:
        error = group.first.error
        group.reason = error.detail
        if left and isinstance(error, SignatureRefused):
            left -= 1
            group.reason = explain_refusal(group.first.source, group.first.request, error)
            time.sleep(YIELD_S)


def explain_refusal(source: SourceRow, request: Request, error: SignatureRefused) -> str:
    """The reason in plain words, with the source's secrets of all times looked at."""
    try:
        options = Rules.parse(source.rules).apply_to(source.options)
        secrets = [decrypt(secret.token) for secret in source.secrets]
        verifier = build_verifier(source.scheme, options, secrets)
        case = Case(source.scheme, options, secrets, _find_other_secrets(source))
    except (WrongOptions, WrongRules, VaultError):
        return error.detail
    return explain(verifier, request, error, case)


def _find_other_secrets(source: SourceRow) -> list[tuple[str, str]]:
    active = [secret.pk for secret in source.secrets]
    now = timezone.now()
    found = []
    for secret in Secret.objects.filter(source=source.pk).exclude(pk__in=active):
        if secret.ends_at and secret.ends_at <= now:
            which = f"a secret that was retired on {_day(secret.ends_at)}"
        elif secret.starts_at > now:
            which = f"a secret that is not active before {_day(secret.starts_at)}"
        else:
            which = "a secret that has just become active"
        found.append((secret.value, which))
    return found


def _day(at: datetime) -> str:
    at = at.astimezone(UTC)
    return f"{at.day} {at:%B %Y} at {at:%H:%M} UTC"


def _find_known(groups: Iterable[Key]) -> set[Key]:
    """Those of them that are kept already."""
    digests = {key[2] for key in groups}
    kept = RefusedRequest.objects.filter(state=State.KEPT, body_digest__in=digests)
    return set(kept.values_list("source_id", "code", "body_digest")) & set(groups)


def _count_up(key: Key, group: Group) -> None:
    source_id, code, body_digest = key
    same = RefusedRequest.objects.filter(
        source=source_id, code=code, body_digest=body_digest, state=State.KEPT
    )
    same.update(times=F("times") + group.times, last_received_at=_time(group.last_at))


def _build(key: Key, group: Group) -> RefusedRequest:
    request = group.first.request
    content = pack(request)
    return RefusedRequest(
        source_id=key[0],
        received_at=_time(request.now),
        last_received_at=_time(group.last_at),
        times=group.times,
        address=group.first.address,
        method=request.method[:10],
        code=key[1][:60],
        reason=group.reason[:REASON_MAX_CHARS],
        size_bytes=len(request.body),
        body_digest=key[2],
        content=content,
        kept_bytes=len(content) * 4 // 3,
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def bound(source_id: int) -> None:
    """Delete what the source has too many of: what nobody needs any more first, then what has
    no signature (strangers can send as much as they like of it), then the oldest.
    """
    most, most_bytes = settings.REFUSED_KEEP_COUNT, settings.REFUSED_KEEP_BYTES
    rows = RefusedRequest.objects.filter(source=source_id)
    total = rows.aggregate(count=Count("pk"), size=Sum("kept_bytes"))
    if total["count"] <= most and (total["size"] or 0) <= most_bytes:
        return
    # A little more than must go, so that a flood does not have the rows listed every time.
    surplus = _find_surplus(rows, most - most // 20, most_bytes - most_bytes // 20)
    for start in range(0, len(surplus), DELETE_BATCH):
        RefusedRequest.objects.filter(pk__in=surplus[start : start + DELETE_BATCH]).delete()


def _find_surplus(rows: QuerySet[RefusedRequest], most: int, most_bytes: int) -> list[UUID]:
    fields = ("pk", "state", "code", "kept_bytes")
    listed = list(rows.order_by("-last_received_at", "-pk").values_list(*fields))
    listed.sort(key=lambda row: (row[1] != State.KEPT, row[2] == "missing_signature"))
    size, surplus = 0, []
    for number, (pk, _, _, kept_bytes) in enumerate(listed, 1):
        size += kept_bytes
        if number > most or size > most_bytes:
            surplus.append(pk)
    return surplus
