"""What somebody needs who connects a provider: address, secret, first event, a way to try it."""

from __future__ import annotations

from typing import Any

from django.utils.timesince import timesince

from apps.sources.models import Source
from apps.sources.picker import describe_labels
from apps.sources.sample_request import get_hook_url, get_sample_type, make_request
from apps.sources.schemes import SCHEMES, WrongOptions
from apps.sources.snippets import UnrecordedSigning, write_snippets


def get_connect(source: Source, *, may_sign: bool, new_secret: str = "") -> dict[str, Any]:
    """The context of `sources/connect.html`.

    `may_sign`: the reader may use the source's secrets. `new_secret` was made a moment ago: it is
    shown, this once, and the snippets hold it.
    """
    scheme = SCHEMES.get(source.scheme)
    context: dict[str, Any] = {
        "source": source,
        "scheme": scheme,
        "hook_url": get_shown_url(source, new_secret),
        "has_secret": source.secrets.active().exists(),
        "new_secret": new_secret,
        "verify_token": source.options.get("verify_token", ""),
        "version": source.pipeline.current_version,
    }
    if scheme is not None:
        context["labels"] = describe_labels(scheme, source.options)
    context |= get_arrivals(source)
    context["is_running"] = context["last_event"] is not None and not new_secret
    return context | (get_trial(source, new_secret) if may_sign else {})


def get_shown_url(source: Source, new_secret: str) -> str:
    """The address; with a secret in it that was made just now, where the scheme has it there."""
    return make_request(source).url if new_secret else get_hook_url(source)


def get_trial(source: Source, new_secret: str = "") -> dict[str, Any]:
    """`may_send` and the `snippets`, or `why_not` in a sentence; nothing without a secret yet."""
    scheme = SCHEMES.get(source.scheme)
    active = source.get_active_secrets()
    if scheme is None or (scheme.needs_secret and not active):
        return {}
    value = active[-1].value if active else ""
    try:
        snippets = write_snippets(
            source.scheme,
            source.options,
            value,
            get_hook_url(source),
            event_type=get_sample_type(source),
            shows_secret=bool(new_secret),
        )
    except WrongOptions as error:
        return {"why_not": error.message}
    except UnrecordedSigning:
        snippets = []
    return {"may_send": True, "snippets": snippets}


def get_arrivals(source: Source) -> dict[str, Any]:
    """The `last_event`, and a request that was refused after it, as `refused`.

    `state` is another text as soon as a reader would see something else.
    """
    last = source.events.order_by("-received_at", "-id").first()
    refused = source.refused_requests.filter(state="kept").order_by("-last_received_at").first()
    if last and refused and refused.last_received_at <= last.received_at:
        refused = None
    age = timesince(last.received_at, depth=1) if last else ""
    seen = (
        last.public_id if last else "",
        age,
        f"{refused.public_id}-{refused.times}" if refused else "",
    )
    return {
        "source": source,
        "last_event": last,
        "age": "" if age.startswith("0") else age,
        "refused": refused,
        "state": ":".join(seen),
    }
