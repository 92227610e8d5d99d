"""The WebSocket of the live pages: it only says what changed."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.contrib.auth.models import AnonymousUser

from apps.accounts.models import User
from apps.dashboard.live import GROUP

SessionStore = import_module(settings.SESSION_ENGINE).SessionStore
SIGNED_OUT = 4401
FORBIDDEN = 4403
RECHECK_S = 5.0


class LiveConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """`/ws/live/`: sends `{"changed": […]}`; answers any message with `{"pong": true}`.

    Closes with 4401 where the session has ended and 4403 where its user may not view events; both
    are asked again while the socket is open, because a session may end before its page is closed.
    """

    checked_at = 0.0

    async def connect(self) -> None:
        # Accepted first: a browser sees a close code only of an open socket.
        await self.accept()
        if await self._is_allowed():
            await self.channel_layer.group_add(GROUP, self.channel_name)

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        if await self._is_allowed():
            await self.send_json({"pong": True})

    async def live_changed(self, message: dict[str, Any]) -> None:
        """A message of the group: see `live.send`."""
        if await self._is_allowed():
            await self.send_json({"changed": message["changed"]})

    async def _is_allowed(self) -> bool:
        """Whether the user may still watch; closes the socket where not."""
        now = time.monotonic()
        if now - self.checked_at < RECHECK_S:
            return True
        code = await self._find_refusal()
        if code is not None:
            await self.close(code)
            return False
        self.checked_at = now
        return True

    async def _find_refusal(self) -> int | None:
        """The close code, or nothing where all is well. Reads the session anew each time."""
        session = SessionStore(self.scope["session"].session_key)
        user: User | AnonymousUser = await get_user({"session": session})
        if not user.is_authenticated or not user.is_active:
            return SIGNED_OUT
        allowed = await database_sync_to_async(user.has_perm)("events.view_event")
        return None if allowed else FORBIDDEN
