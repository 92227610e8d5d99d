"""A command line that posts one signed test event, so that a source can be tried at once."""

from __future__ import annotations

import json
import secrets
import shlex
import time

from django.conf import settings

from apps.sources.models import Source
from apps.sources.schemes import SCHEMES, WrongOptions, sign

SAMPLE = {"text": "Why has my new card still not arrived?"}
EVENT_TYPE = "test"


def get_hook_url(source: Source) -> str:
    return f"{settings.PUBLIC_URL}/hooks/{source.slug}"


def get_curl(source: Source) -> str | None:
    """The command; None where there is no secret or only the provider itself can sign.

    It holds a signature and no secret; schemes that sign the time let it expire within minutes.
    """
    active = source.get_active_secrets()
    scheme = SCHEMES.get(source.scheme)
    if not active or scheme is None or not scheme.can_sign:
        return None
    body, event_id, url = json.dumps(SAMPLE), secrets.token_hex(8), get_hook_url(source)
    try:
        headers = sign(
            source.scheme,
            source.options,
            active[-1].value,
            body.encode(),
            time.time(),
            event_id,
            EVENT_TYPE,
            url=url,
        )
    except WrongOptions:
        return None
    words = ["curl", "-sS", url]
    for name, value in ({"Content-Type": "application/json"} | headers).items():
        words += ["-H", f"{name}: {value}"]
    return shlex.join([*words, "--data-binary", body])
