"""Is a provider usable? Asked by form and API before it is saved."""

from __future__ import annotations

from urllib.parse import urlsplit

from apps.destinations.egress import EgressRefused, check_url
from apps.llm.provider import AddressRefused, Endpoint, LLMError, ProviderUnreachable, list_models
from apps.llm.provider_models import SETTINGS_SLUG, Provider, get_origin, is_local

MAX_KEY_CHARS = 1000
SENT_OPEN = "The key travels unencrypted: use https:// where the server has it."
HINTS = {
    401: "The provider does not take this key (HTTP 401).",
    403: "The provider does not let this key in (HTTP 403).",
    404: "Nothing at this address lists models (HTTP 404): a base URL often ends in /v1.",
}


class WrongProvider(ValueError):
    """One field can't be used: `field` is its name, `message` a plain sentence without secrets."""

    code = "wrong_provider"
    permanent = True
    retry_after_s: float | None = None

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def check_slug(slug: str) -> None:
    """Raises `WrongProvider`."""
    if slug == SETTINGS_SLUG:
        raise WrongProvider("slug", f"“{SETTINGS_SLUG}” is the provider of the settings.")


def read_base_url(text: str) -> str:
    """The address as it is kept, without a slash at its end. Raises `WrongProvider`."""
    url = text.strip().rstrip("/")
    try:
        check_url(url, whose="provider")
    except EgressRefused as error:
        raise WrongProvider("base_url", str(error)) from None
    parts = urlsplit(url)
    if "?" in url or "#" in url:
        raise WrongProvider("base_url", "A base URL has no ? and no #: keys go into their field.")
    if not url.isascii() or any(char.isspace() for char in url):
        raise WrongProvider("base_url", "The address holds characters that don't belong there.")
    return url if parts.path else f"{url}/v1"


def choose_key(stored: Provider | None, base_url: str, typed: str | None) -> str:
    """The key to be kept for `base_url`: the typed one, or (None) the stored one.

    Raises `WrongProvider` where the stored one was given for another host: whoever moves a
    provider has to know its key.
    """
    if typed is not None:
        key = typed.strip()
        if len(key) > MAX_KEY_CHARS or not key.isascii() or not key.isprintable() or " " in key:
            raise WrongProvider("api_key", "It is not a key: printable characters without spaces.")
        return key
    if stored is None or not stored.has_key:
        return ""
    origin = stored.sealed_key.partition(" ")[0]
    if origin != get_origin(base_url):
        raise WrongProvider(
            "api_key",
            f"The stored key was given for {origin} and is not sent to another host: type the key "
            "for this one.",
        )
    return stored.get_key()


def test(base_url: str, api_key: str) -> list[str]:
    """The models that are there, by one GET. Raises `WrongProvider` with what is wrong."""
    endpoint = Endpoint("test", base_url, api_key)  # under any name: a typed address
    try:
        return list_models(endpoint)
    except AddressRefused as error:
        raise WrongProvider("base_url", str(error)) from None
    except ProviderUnreachable as error:
        raise WrongProvider("base_url", str(error)) from None
    except LLMError as error:
        status = error.http_status or 0
        field = "api_key" if status in (401, 403) else "base_url"
        raise WrongProvider(field, HINTS.get(status, str(error))) from None


def find_warnings(base_url: str, api_key: str) -> list[str]:
    """What is worth a word although it may be saved."""
    return [SENT_OPEN] if is_sent_open(base_url, api_key) else []


def is_sent_open(base_url: str, api_key: str) -> bool:
    """Whether the key would travel unencrypted: on this machine it does not travel."""
    return bool(api_key) and urlsplit(base_url).scheme == "http" and not is_local(base_url)
