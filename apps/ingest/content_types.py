"""Which Content-Types a source takes."""

from __future__ import annotations

JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"
TEXT = b"text/plain"
MULTIPART = b"multipart/form-data"

# These providers send nothing but JSON; `curl -d` without a header claims a form by mistake.
JSON_ONLY_SCHEMES = {"standard-webhooks", "stripe", "shopify"}
# SNS calls all that it delivers text.
TEXT_SCHEMES = {"aws-sns", "amazon-ses"}
# JSON in a field of a form with multipart/form-data.
MULTIPART_SCHEMES = {"dropbox-sign"}


class ContentTypes:
    """The types of one source."""

    __slots__ = ("_form", "_multipart", "_text")

    def __init__(self, scheme: str) -> None:
        self._form = scheme not in JSON_ONLY_SCHEMES
        self._text = scheme in TEXT_SCHEMES
        self._multipart = scheme in MULTIPART_SCHEMES

    def is_json(self, content_type: bytes) -> bool | None:
        """Whether a body of this type must be JSON; None where the type is not taken."""
        if content_type == JSON:
            return True
        media_type = content_type.partition(b";")[0].strip().lower()
        if media_type == JSON or _is_json_suffix(media_type):
            return True
        if media_type == FORM and self._form:
            return False
        if media_type == MULTIPART and self._multipart:
            return True
        return True if media_type == TEXT and self._text else None

    @property
    def sentence(self) -> str:
        """What to send, for the answer to a wrong type."""
        form = ", or a form as application/x-www-form-urlencoded" if self._form else ""
        return f"Send JSON with Content-Type: application/json{form}."


def _is_json_suffix(media_type: bytes) -> bool:
    return media_type.startswith(b"application/") and media_type.endswith(b"+json")
