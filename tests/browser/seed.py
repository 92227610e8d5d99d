"""Rows that make every page worth looking at: for screenshots, never run by the product."""

from __future__ import annotations

import json
import math
import random
from datetime import datetime, timedelta
from decimal import Decimal

from django.utils import timezone

from apps.accounts.models import ApiToken, User
from apps.dashboard.models import StatusSample
from apps.destinations.models import Destination, InboxItem
from apps.events.models import Attempt, Event, EventBody, Status
from apps.llm.models import LLMCall
from apps.pipelines.models import Pipeline
from apps.sources.models import Secret, Source

PASSWORD = "correct horse battery"
SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS10ZXN0cy0zMi1ieXRlcyEh"
TEXTS = (
    "Why has my new card still not arrived?",
    "I was charged twice for the same hotel booking.",
    "How do I change the address on my account?",
    "The cash machine kept my card and gave me nothing.",
    "Can I get a virtual card before the real one comes?",
    "Your app signs me out every few minutes.",
)
PARTS = ("database", "queue", "temporal", "llm", "dispatcher", "worker", "celery")
OK, FAILED = Attempt.Outcome.OK, Attempt.Outcome.FAILED


def seed(now: datetime | None = None) -> None:
    """People, two sources, thirty events in every state and half an hour of samples."""
    now = now or timezone.now()
    chance = random.Random(7)
    people()
    desk, shop = configuration()
    for index in range(30):
        at = now - timedelta(seconds=40 * index + 3)
        add_event(chance, desk if index % 3 else shop, index, at)
    ApiToken.issue(User.objects.get(username="alice"), "Warehouse import", ["events:read"])
    samples(chance, now)


def people() -> None:
    for name, role in (("alice", "admin"), ("bob", "support"), ("vera", "viewer")):
        user = User.objects.create_user(
            name, f"{name}@example.com", PASSWORD, first_name=name.capitalize()
        )
        user.give_role(role)


def configuration() -> tuple[Source, Source]:
    inbox = Destination.objects.create(slug="inbox", name="Inbox", kind="inbox")
    crm = Destination.objects.create(
        slug="crm", name="CRM", kind="http", url="https://crm.example.com/hooks", secret=SECRET
    )
    triage = Pipeline.objects.create(slug="ticket-triage", name="Ticket triage")
    schema = {
        "type": "object",
        "properties": {
            "category": {"enum": ["billing", "card", "account", "other"]},
            "urgency": {"enum": ["low", "normal", "high"]},
            "summary": {"type": "string", "maxLength": 120},
        },
        "required": ["category", "urgency", "summary"],
    }
    prompt = "Sort this support ticket.\n\nTicket: {{ text }}"
    triage.publish(prompt=prompt, destination=inbox, output_schema=schema)
    triage.publish(
        prompt=prompt + "\n\nWrite a summary of at most twelve words.",
        destination=crm,
        output_schema=schema,
        filter="text",
        transform="{text: text}",
    )
    desk = Source.objects.create(
        slug="helpdesk", name="Helpdesk", scheme="standard-webhooks", pipeline=triage
    )
    shop = Source.objects.create(slug="shop", name="Shop orders", scheme="github", pipeline=triage)
    Secret.objects.create(source=desk, value=SECRET)
    Secret.objects.create(source=shop, value="a-shared-secret-of-the-shop")
    return desk, shop


STATES = (
    Status.RUNNING,
    Status.DELIVERED,
    Status.DELIVERED,
    Status.DEAD,
    Status.DELIVERED,
    Status.HELD,
    Status.DELIVERED,
    Status.FILTERED,
    Status.DEAD,
    Status.DELIVERED,
)


def add_event(chance: random.Random, source: Source, index: int, at: datetime) -> Event:
    """One event in the state that `index` asks for, with attempts and ledger as they would be."""
    status = STATES[index % len(STATES)]
    text = TEXTS[index % len(TEXTS)]
    raw = json.dumps({"type": "ticket.created", "id": f"T-{1000 + index}", "text": text}).encode()
    answer = {"category": "card", "urgency": "high", "summary": text[:60]}
    version = source.pipeline.current_version
    assert version is not None
    is_over = status not in (Status.RUNNING, Status.HELD)
    took = timedelta(seconds=17 if status == Status.DEAD else 2)
    event = Event.objects.create(
        source=source,
        pipeline_version=version,
        idempotency_key=f"msg_{chance.getrandbits(80):020x}",
        event_type="ticket.created",
        status=status,
        received_at=at,
        changed_at=at + took,
        finished_at=at + took if is_over else None,
        size_bytes=len(raw),
        excerpt=raw.decode(),
        answer=answer if status in (Status.DELIVERED, Status.DEAD) else None,
        cost_usd=Decimal("0.000413"),
        **CAUSES.get(status, {}),
    )
    EventBody.objects.create(event=event, raw=raw, content_type="application/json")
    add_history(event, at, json.dumps(answer))
    if status == Status.DELIVERED:
        inbox = Destination.objects.get(slug="inbox")
        InboxItem.objects.create(destination=inbox, event_id=event.pk, answer=answer)
    return event


CAUSES: dict[Status, dict[str, str]] = {
    Status.DEAD: {
        "step": "deliver",
        "error_code": "http_500",
        "error": "The destination answered 500 five times.",
    },
    Status.HELD: {
        "step": "llm",
        "error_code": "call_outcome_unknown",
        "error": "The request to the model left, and no answer came back.",
    },
}


def add_history(event: Event, at: datetime, answer: str) -> None:
    if event.status == Status.FILTERED:
        add_attempt(event, "prepare", 1, OK, at, 0.004)
        return
    add_attempt(event, "prepare", 1, OK, at, 0.004)
    is_held = event.status == Status.HELD
    llm_at = at + timedelta(seconds=0.2)
    add_attempt(event, "llm", 1, Attempt.Outcome.HELD if is_held else OK, llm_at, 1.24)
    LLMCall.objects.create(
        event=event,
        request_hash=f"{event.pk.hex}{event.pk.hex}",
        state=LLMCall.State.UNKNOWN if is_held else LLMCall.State.ANSWERED,
        model="gpt-4o-mini",
        request={
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": f"Sort this ticket.\n\n{event.excerpt}"}],
            "max_completion_tokens": 500,
        },
        answer="" if is_held else answer,
        input_tokens=182,
        output_tokens=0 if is_held else 41,
        cost_usd=Decimal("0.000413"),
        intended_at=llm_at,
        answered_at=None if is_held else llm_at + timedelta(seconds=1.24),
    )
    if event.status == Status.DEAD:
        began = at + timedelta(seconds=1.5)
        for number, wait in enumerate((0, 1, 2, 4, 8), start=1):
            began += timedelta(seconds=wait)
            outcome = FAILED if number < 5 else Attempt.Outcome.PERMANENT
            add_attempt(event, "deliver", number, outcome, began, 0.08, http_status=500)
    elif event.status == Status.DELIVERED:
        add_attempt(event, "deliver", 1, OK, at + timedelta(seconds=1.5), 0.11, http_status=200)


def add_attempt(
    event: Event,
    step: str,
    number: int,
    outcome: str,
    at: datetime,
    took_s: float,
    http_status: int | None = None,
) -> None:
    failed = outcome in (FAILED, Attempt.Outcome.PERMANENT)
    Attempt.objects.create(
        event=event,
        run=event.run,
        step=step,
        number=number,
        outcome=outcome,
        started_at=at,
        finished_at=at + timedelta(seconds=took_s),
        error_code="http_500" if failed else "",
        error="The destination answered 500." if failed else "",
        http_status=http_status,
    )


def samples(chance: random.Random, now: datetime) -> None:
    """Half an hour, one sample every 5 s, with a swell in the middle."""
    rows = []
    for index in range(360):
        swell = 1 + math.sin(index / 40) + chance.random() / 3
        rows.append(
            StatusSample(
                queue_length=int(40 * swell),
                consumer_lag=int(12 * swell) if index % 50 > 4 else None,
                llm_latency_s=0.8 + swell / 3,
                error_rate=0.01 * swell,
                dead_letters=6 if index > 200 else index // 60,
                workflow_success_rate=1 - 0.004 * swell,
                delivered_per_minute=90 * swell + 20,
                held=3,
                parts={name: {"ok": True, "why": ""} for name in PARTS},
            )
        )
    rows[-1].parts["llm"] = {
        "ok": False,
        "why": "The LLM server at llm.internal refuses connections.",
    }
    StatusSample.objects.bulk_create(rows)
    for index, row in enumerate(rows):
        row.at = now - timedelta(seconds=5 * (len(rows) - 1 - index))
    StatusSample.objects.bulk_update(rows, ["at"], batch_size=200)
