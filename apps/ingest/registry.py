"""The sources as ingest needs them: in memory, verifiers built, read again when they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connections
from django.db.models import TextField
from django.db.models.functions import Cast
from django.utils import timezone

from apps.ingest import answers, metrics
from apps.ingest.answers import Answer
from apps.ingest.certificates import certificates
from apps.ingest.content_types import ContentTypes
from apps.ingest.gate import Gate, make_gate
from apps.sources.changes import TOPIC
from apps.sources.models import Secret, Source
from apps.sources.rules import Rules, WrongRules
from apps.sources.schemes import SCHEMES, Verifier, WrongOptions, build_verifier
from apps.streams.announcements import listen
from apps.streams.ending import end
from apps.vault.vault import VaultError, decrypt

logger = logging.getLogger(__name__)

REFRESH_INTERVAL_S = 3.0
# A stranger who guesses addresses must not make the database work harder than this.
LOOK_INTERVAL_S = 0.25
LOOK_TIMEOUT_S = 1.0


class ActiveSecret(NamedTuple):
    """Its value still encrypted."""

    pk: int
    token: str
    ends_at: datetime | None


class SourceRow(NamedTuple):
    """A source as the database has it, with its active secrets, oldest first."""

    pk: int
    slug: str
    scheme: str
    options: dict[str, Any]
    rules: dict[str, Any]
    max_body_bytes: int | None
    paused_at: datetime | None
    secrets: tuple[ActiveSecret, ...]


class CompiledSource:
    """All that a request to this source needs. `broken` is why it can't verify, else ''."""

    __slots__ = (
        *("_accepted", "_answer", "_duplicates", "broken", "content_types", "dedup_prefix", "gate"),
        *("id", "is_paused", "max_body_bytes", "row", "rules", "secret_ids", "slug", "slug_bytes"),
        "verifier",
    )

    def __init__(self, row: SourceRow) -> None:
        self.row = row
        self.slug, self.slug_bytes = row.slug, row.slug.encode()
        self.id = str(row.pk).encode()
        self.dedup_prefix = b"d:%b:" % self.id
        self.is_paused = row.paused_at is not None
        self.max_body_bytes = row.max_body_bytes or settings.MAX_BODY_BYTES
        self.content_types = ContentTypes(row.scheme)
        self._accepted = metrics.ACCEPTED.labels(row.slug).inc
        self._duplicates = metrics.DUPLICATES.labels(row.slug).inc
        # Amazon SNS has no secret of ours, so none that could have verified.
        self.secret_ids = [str(secret.pk).encode() for secret in row.secrets] or [b""]
        self.broken = ""
        self.rules = Rules()
        self.verifier = Verifier()
        try:
            self.rules = Rules.parse(row.rules)
            self.rules.check_scheme(row.scheme, row.options)
            options = self.rules.apply_to(row.options)
            secrets = [decrypt(secret.token) for secret in row.secrets]
            self.verifier = build_verifier(
                row.scheme, options, secrets, fetch_certificate=certificates.get
            )
        except (WrongOptions, WrongRules, VaultError) as error:
            self.broken = str(error)
            logger.warning("Source %s accepts nothing: %s", row.slug, error)
        self._answer = answers.chosen(self.rules) or _get_scheme_answer(row.scheme)
        self.gate: Gate | None = make_gate(self.rules, str(row.pk), self._answer or answers.IGNORED)

    @property
    def is_plain(self) -> bool:
        """Whether a POST to it can only be an event, to be answered by `Ingest.submit` alone."""
        needs_wait = self.gate is not None and self.gate.needs_wait
        needs_more = self.verifier.takes_post_challenge or self.verifier.needs_certificate
        return not (self.is_paused or self.broken or needs_wait or needs_more)

    def settle(self, event_id: bytes, earlier: bytes) -> Answer:
        """Count the event and answer it; `earlier` is the queue's answer (`appender.Answer`)."""
        if earlier:
            self._duplicates()
            return self._answer or answers.duplicate(earlier)
        self._accepted()
        return self._answer or answers.accepted(event_id)


def _get_scheme_answer(slug: str) -> Answer | None:
    scheme = SCHEMES.get(slug)
    return answers.fixed(scheme.answer) if scheme and scheme.answer else None


class Registry:
    """Slug → source. Keeps what it knows while the database does not answer."""

    def __init__(self) -> None:
        self.sources: dict[str, CompiledSource] = {}
        # By path, those whose events the protocol may take without asking anything else.
        self.plain: dict[bytes, CompiledSource] = {}
        self.is_loaded = False
        self._is_failure_logged = False
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._look: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the sources, then keep reading; a database that is down is no reason to fail."""
        # One thread, so that one database connection is kept.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ingest-registry")
        await self._refresh_in_thread()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._keep_fresh()),
            loop.create_task(listen(TOPIC, self._changed.set)),
        ]

    async def stop(self) -> None:
        tasks = [*self._tasks, self._look] if self._look else self._tasks
        await end(*tasks)
        await asyncio.get_running_loop().run_in_executor(self._thread, connections.close_all)
        self._thread.shutdown()

    async def look_for(self, slug: str) -> CompiledSource | None:
        """A source that was made a moment ago: its sender may be quicker than its announcement.

        All who ask within LOOK_INTERVAL_S share one look at the database.
        """
        if self._look is None:
            self._look = asyncio.get_running_loop().create_task(self._look_again())
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                await asyncio.shield(self._look)
        except TimeoutError:
            pass  # the database is slow: what is known must do
        return self.sources.get(slug)

    async def _look_again(self) -> None:
        await asyncio.sleep(LOOK_INTERVAL_S)
        self._look = None  # who asks from now on may ask for what this look does not see
        await self._refresh_in_thread()

    async def _keep_fresh(self) -> None:
        while True:
            try:
                async with asyncio.timeout(REFRESH_INTERVAL_S):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            await self._refresh_in_thread()

    async def _refresh_in_thread(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self.refresh)

    def refresh(self) -> None:
        """Read all rows; only what changed is decrypted and built again."""
        try:
            close_old_connections()
            rows = _read_rows()
        except DatabaseError as error:
            if not self._is_failure_logged:
                logger.warning(
                    "The sources can't be read (%s): the last known stay.", error.__class__.__name__
                )
            self._is_failure_logged = True
            # Not their secrets: each was promised to end at its time.
            self._use([_end_secrets(source.row) for source in self.sources.values()])
            return
        self._use(rows)
        self.is_loaded, self._is_failure_logged = True, False

    def _use(self, rows: Iterable[SourceRow]) -> None:
        known = self.sources
        self.sources = {row.slug: _compile(row, known.get(row.slug)) for row in rows}
        self.plain = {
            f"/hooks/{slug}{end}".encode(): source
            for slug, source in self.sources.items()
            for end in ("", "/")
            if source.is_plain
        }


def _end_secrets(row: SourceRow) -> SourceRow:
    now = timezone.now()
    active = tuple(each for each in row.secrets if each.ends_at is None or each.ends_at > now)
    return row._replace(secrets=active)


def _compile(row: SourceRow, known: CompiledSource | None) -> CompiledSource:
    return known if known is not None and known.row == row else CompiledSource(row)


def read_source(pk: int) -> CompiledSource | None:
    """One source as it is now, for code that is not ingest; raises DatabaseError."""
    rows = _read_rows(pk=pk)
    return CompiledSource(rows[0]) if rows else None


def _read_rows(**wanted: Any) -> list[SourceRow]:
    fields = ("pk", "slug", "scheme", "options", "rules", "max_body_bytes", "paused_at")
    secrets: dict[int, list[ActiveSecret]] = {}
    # Cast to plain text: the model's own field would decrypt every secret at every look.
    encrypted = Secret.objects.active().annotate(token=Cast("value", TextField()))
    for source_id, *secret in encrypted.order_by("created_at", "pk").values_list(
        "source_id", *ActiveSecret._fields
    ):
        secrets.setdefault(source_id, []).append(ActiveSecret._make(secret))
    return [
        SourceRow._make((pk, *row, tuple(secrets.get(pk, ()))))
        for pk, *row in Source.objects.filter(**wanted).values_list(*fields)
    ]
