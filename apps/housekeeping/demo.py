"""The first start: an administrator, and a demo that goes the whole way."""

from __future__ import annotations

import secrets

from django.contrib.auth.models import Group
from django.db import transaction

from apps.accounts.models import User
from apps.destinations.models import Destination
from apps.pipelines.models import Pipeline
from apps.sources import sample_request
from apps.sources.models import Secret, Source

ADMIN_NAME = "admin"
SOURCE_SLUG = "demo"
SCHEME = "github"  # signs the body alone, so that a printed command stays valid
TICKET = {
    "ticket": "T-1001",
    "from": "ada@example.com",
    "subject": "Charged twice",
    "text": "I was charged twice for my order yesterday. Please refund one payment today.",
}
PROMPT = """\
Sort this support ticket. Choose one category: billing, shipping, account, technical or other.
Choose its urgency: low, normal or high. Then write a summary of at most twelve words.

Subject: {{ subject }}
Ticket: {{ text }}
"""
OUTPUT_SCHEMA = {
    "type": "object",
    "properties": {
        "category": {"enum": ["billing", "shipping", "account", "technical", "other"]},
        "urgency": {"enum": ["low", "normal", "high"]},
        "summary": {"type": "string", "minLength": 1, "maxLength": 160},
    },
    "required": ["category", "urgency", "summary"],
    "additionalProperties": False,
}


def create_admin() -> str | None:
    """The one-time password of a new administrator; None where the system has users already."""
    if User.objects.exists():
        return None
    password = secrets.token_urlsafe(12)
    admin = User.objects.create_user(ADMIN_NAME, password=password, is_staff=True)
    admin.groups.add(Group.objects.get(name="admin"))
    return password


def create_demo() -> None:
    """Source, pipeline and destination that sort support tickets."""
    with transaction.atomic():
        inbox = Destination.objects.create(slug="inbox", name="Inbox", kind="inbox")
        pipeline = Pipeline.objects.create(slug="ticket-triage", name="Ticket triage (demo)")
        pipeline.publish(
            prompt=PROMPT, output_schema=OUTPUT_SCHEMA, max_output_tokens=120, destination=inbox
        )
        source = Source.objects.create(
            slug=SOURCE_SLUG, name="Support tickets (demo)", scheme=SCHEME, pipeline=pipeline
        )
        Secret.objects.create(source=source, value=secrets.token_hex(32))


def get_curl() -> str | None:
    """A signed command for a shell that posts one ticket; None where the demo source is gone."""
    source = Source.objects.filter(slug=SOURCE_SLUG, scheme=SCHEME).first()
    return sample_request.get_curl(source, TICKET, "ticket") if source else None
