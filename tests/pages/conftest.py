"""What the tests of pages share: somebody signed in, and a layer that needs no queue server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from apps.accounts.models import User

IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
Browse = Callable[[User], Client]


@pytest.fixture(autouse=True)
def no_queue_server(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = IN_MEMORY


@pytest.fixture
def sign_in() -> Browse:
    """A client with that user's session."""

    def browse(user: User) -> Client:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return browse


def text_of(response: Any) -> str:
    """The HTML, after a check that it is a page."""
    assert response.status_code == 200, response.status_code
    html: str = response.content.decode()
    return html
