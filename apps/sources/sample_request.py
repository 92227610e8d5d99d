"""A test event of a source, signed as its provider would sign it."""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Mapping

from django.conf import settings

from apps.sources.models import Source
from apps.sources.schemes import SCHEMES, SampleRequest, WrongOptions, sample_request

SAMPLE_TEXT = "Why has my new card still not arrived?"
EVENT_TYPE = "test"
ID_PREFIX = "test_"


def get_hook_url(source: Source) -> str:
    return f"{settings.PUBLIC_URL}/hooks/{source.slug}"


def get_sample_fields(event_id: str) -> dict[str, str]:
    """What a test event says besides what its provider's events say: that it is one."""
    return {"text": SAMPLE_TEXT, "test_event": event_id}


def get_sample_type(source: Source) -> str:
    """A type that the source's rules take, else a usual one of the provider."""
    if wanted := source.rules.get("event_types"):
        return str(wanted[0]).replace("*", EVENT_TYPE)
    return SCHEMES[source.scheme].example_type if source.scheme in SCHEMES else EVENT_TYPE


def make_request(
    source: Source, fields: Mapping[str, str] | None = None, event_type: str = ""
) -> SampleRequest:
    """One new test event, signed now with the newest secret; its id begins with `test_`.

    Raises `WrongOptions`, with a sentence to show, where there is no secret or only the provider
    can sign.
    """
    scheme = SCHEMES.get(source.scheme)
    active = source.get_active_secrets()
    if not active and (scheme is None or scheme.needs_secret):
        raise WrongOptions("secrets", "The source has no active secret yet.")
    event_id = ID_PREFIX + secrets.token_hex(8)
    return sample_request(
        source.scheme,
        source.options,
        active[-1].value if active else "",
        get_hook_url(source),
        time.time(),
        fields=get_sample_fields(event_id) if fields is None else fields,
        event_id=event_id,
        event_type=event_type or get_sample_type(source),
    )


def get_curl(
    source: Source, fields: Mapping[str, str] | None = None, event_type: str = ""
) -> str | None:
    """A command that posts one test event; None where nobody but the provider can sign.

    It holds a signature and no secret (a token scheme's header aside); schemes that sign the time
    let it expire within minutes.
    """
    try:
        request = make_request(source, fields, event_type)
    except WrongOptions:
        return None
    words = ["curl", "-sS", request.url]
    for name, value in request.headers.items():
        words += ["-H", f"{name}: {value}"]
    return shlex.join([*words, "--data-binary", request.body.decode()])
