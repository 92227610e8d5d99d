"""The ASGI application: ingest in front, then Channels, then Django."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pipeline_admin.settings")

from django.core.asgi import get_asgi_application

django_application: Any = get_asgi_application()

from apps.dashboard.routing import websocket_application  # noqa: E402 - models need Django set up
from apps.ingest.app import PREFIX, Ingest  # noqa: E402 - models need Django set up

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ingest = Ingest()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Ingest comes first: it is the hot path, and Django has no part in it."""
    kind = scope["type"]
    if kind == "http":
        if scope["path"].startswith(PREFIX):
            await ingest(scope, receive, send)
        else:
            await django_application(scope, receive, send)
    elif kind == "websocket":
        await websocket_application(scope, receive, send)
    elif kind == "lifespan":
        await run_lifespan(receive, send)


async def run_lifespan(receive: Receive, send: Send) -> None:
    """Starts ingest with the server and stops it after the last request was answered."""
    await receive()
    await ingest.start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await ingest.stop()
    await send({"type": "lifespan.shutdown.complete"})
