"""The family in which the sender repeats the secret somewhere in the body."""

from __future__ import annotations

from hmac import compare_digest
from typing import Any

from apps.sources.schemes.base import BadSignature, MissingSignature, Request, Verified, Verifier
from apps.sources.schemes.body import compile_path, read_body
from apps.sources.schemes.encodings import decode_key
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.options import OptionField, Options, WrongOptions
from apps.sources.schemes.plain_paths import put

FIELDS = (
    OptionField(
        "token_path",
        "Secret in the body: JMESPath",
        help="Where it finds a list, each of its items must be the secret.",
    ),
)
MAX_TOKENS = 1000


class BodyTokenVerifier(Verifier):
    """All that the path finds must be one and the same active secret."""

    def __init__(self, setup: Setup) -> None:
        path = setup.options.text("token_path")
        if not path:
            raise WrongOptions("token_path", "Say where in the body the secret stands.")
        self._search = compile_path("token_path", path)
        self._tokens = [decode_key("text", secret) for secret in setup.secrets]
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        refuse_without_secret(self._tokens)
        given = self._given(request)
        for index, token in enumerate(self._tokens):
            if all([compare_digest(token, each) for each in given]):
                return self._labels.verified(request, index)
        raise BadSignature("The value in the body is none of the active secrets.")

    def _given(self, request: Request) -> list[bytes]:
        """Never empty."""
        found = self._search(read_body(request))
        values = found if isinstance(found, list) else [found]
        texts = [value for value in values if isinstance(value, str) and value]
        if not values or len(texts) < len(values) or len(texts) > MAX_TOKENS:
            raise MissingSignature("The body does not hold the secret where it must.")
        return [text.encode("utf-8", "surrogatepass") for text in texts]


def fill(options: Options, event: Outgoing, body: dict[str, Any]) -> dict[str, Any]:
    """The body with the secret in it."""
    path = options.text("token_path").replace("[]", "[0]")
    return put(body, path, event.secret)  # type: ignore[no-any-return]


FAMILY = Family("body_token", FIELDS, BodyTokenVerifier, fill=fill)
