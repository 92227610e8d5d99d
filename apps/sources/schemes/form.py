"""Forms whose decoded parameters are signed, not their bytes."""

from __future__ import annotations

from urllib.parse import parse_qsl

from apps.sources.schemes.base import MalformedSignature, Request

CONTENT_TYPE = b"application/x-www-form-urlencoded"
MAX_PARAMETERS = 1000


def is_form(request: Request) -> bool:
    content_type = request.headers.get(b"content-type", b"")
    # The first half is only quicker: most bodies are of this type.
    return content_type != b"application/json" and content_type.lower().startswith(CONTENT_TYPE)


def signed_parameters(request: Request) -> bytes:
    """Name and value of each parameter, sorted by both, a repeat once; raises as `read_pairs`."""
    return "".join(name + value for name, value in sorted(set(read_pairs(request)))).encode("utf-8")


def read_pairs(request: Request) -> list[tuple[str, str]]:
    """Name and value of each parameter, as they were sent.

    Raises MalformedSignature where the body is no form that can be read without loss.
    """
    if not is_form(request):
        raise MalformedSignature("The body is not a form, whose parameters would be signed.")
    try:
        return parse_qsl(
            request.body.decode("utf-8"),
            keep_blank_values=True,
            max_num_fields=MAX_PARAMETERS,
            errors="strict",
        )
    except ValueError:
        raise MalformedSignature("The body is not a readable form.") from None
