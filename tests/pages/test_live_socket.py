"""Who may listen to the live socket, and what it says."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.sessions.models import Session

from apps.accounts.models import User
from apps.dashboard import consumers, live
from apps.dashboard.routing import websocket_application
from tests.pages.conftest import Browse

pytestmark = pytest.mark.django_db(transaction=True)


async def open_socket(
    sign_in: Browse, user: User | None, origin: str = "http://testserver"
) -> WebsocketCommunicator:
    headers = [(b"origin", origin.encode()), (b"host", b"testserver")]
    if user:
        client = await sync_to_async(sign_in)(user)
        headers.append((b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()))
    return WebsocketCommunicator(websocket_application, "/ws/live/", headers=headers)


async def get_close_code(socket: WebsocketCommunicator) -> int:
    """The code with which it closes right after it was opened."""
    connected, _ = await socket.connect()
    assert connected
    message: dict[str, Any] = await socket.receive_output()
    code: int = message["code"]
    return code


async def test_a_viewer_hears_what_changed(sign_in: Browse, vera: User) -> None:
    socket = await open_socket(sign_in, vera)
    await socket.connect()
    await socket.send_json_to({"ping": True})
    assert await socket.receive_json_from() == {"pong": True}

    await live.send(["events"])

    assert await socket.receive_json_from() == {"changed": ["events"]}
    await socket.disconnect()


async def test_a_stranger_is_closed_with_4401(sign_in: Browse) -> None:
    assert await get_close_code(await open_socket(sign_in, None)) == 4401


async def test_somebody_without_a_role_is_closed_with_4403(sign_in: Browse, charlie: User) -> None:
    assert await get_close_code(await open_socket(sign_in, charlie)) == 4403


async def test_a_page_of_another_site_gets_no_socket(sign_in: Browse, vera: User) -> None:
    socket = await open_socket(sign_in, vera, origin="https://evil.example")

    connected, _ = await socket.connect()

    assert not connected


async def test_a_session_that_ends_closes_its_socket(
    sign_in: Browse, vera: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_S", 0.0)
    socket = await open_socket(sign_in, vera)
    await socket.connect()
    await socket.send_json_to({"ping": True})
    await socket.receive_json_from()
    await Session.objects.all().adelete()

    await live.send(["events"])

    message = await socket.receive_output()
    assert (message["type"], message["code"]) == ("websocket.close", 4401)
