"""What the lists of the model admins show in a cell."""

from __future__ import annotations

from datetime import datetime

from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString


def show_time(at: datetime | None) -> SafeString | str:
    """A time in the reader's zone, – for none."""
    return render_to_string("pages/time.html", {"at": at}) if at else "–"


def show_badge(text: str, tone: str = "muted") -> SafeString:
    """A word with a dot; `tone` is a state of an event: delivered (good), dead, held, running."""
    return format_html('<span class="pa-badge pa-badge--{}">{}</span>', tone, text)
