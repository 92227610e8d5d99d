"""Where a call goes: to the provider of the settings, under the name "", or to one with a row."""

from __future__ import annotations

from django.conf import settings

from apps.llm.models import Provider
from apps.llm.provider import Endpoint, NotConfigured, ProviderRefused

SETTINGS = ""  # the name of the provider of the settings, also on rows from before there were more


class ProviderMissing(NotConfigured):
    """A version names a provider that is gone: nothing leaves."""

    code = "llm_provider_missing"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no provider “{name}” any more: choose another one, then retry.")


class KeyElsewhere(ProviderRefused):
    """The stored key was given for another host: it is not sent, and so nothing is."""

    code = "llm_key_elsewhere"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The key of the provider “{name}” was given for another host: type it again on the "
            "provider's page, then retry."
        )


def get_endpoint(name: str = SETTINGS) -> Endpoint:
    """Where a provider is asked, as it is configured now.

    Raises `NotConfigured`, `ProviderMissing` and `KeyElsewhere`.
    """
    if name == SETTINGS:
        address = (settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY)
        endpoint = Endpoint(SETTINGS, *address, settings.LLM_BACKGROUND)
        if not (endpoint.base_url or endpoint.api_key):
            raise NotConfigured
        return endpoint
    row = Provider.objects.filter(slug=name).first()
    if row is None:
        raise ProviderMissing(name)
    return to_endpoint(row)


def to_endpoint(row: Provider) -> Endpoint:
    """Raises `KeyElsewhere`."""
    if row.key_is_elsewhere:
        raise KeyElsewhere(row.slug)
    return Endpoint(row.slug, row.base_url, row.get_key(), row.in_background)
