"""Where a call goes: the provider of the settings, under the name ""."""

from __future__ import annotations

from django.conf import settings

from apps.llm.provider import Endpoint, NotConfigured

SETTINGS = ""  # the name of the provider of the settings, also on rows from before there were more


def get_endpoint(name: str = SETTINGS) -> Endpoint:
    """Where a provider is asked, as it is configured now. Raises `NotConfigured`."""
    endpoint = Endpoint(SETTINGS, settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY)
    if name != SETTINGS or not (endpoint.base_url or endpoint.api_key):
        raise NotConfigured
    return endpoint
