"""The ASGI application: ingest in front, then Channels, then Django."""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pipeline_admin.settings")

from django.conf import settings
from django.core.asgi import get_asgi_application
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

django_application: Any = get_asgi_application()

from apps.dashboard.routing import websocket_application  # noqa: E402 - models need Django set up
from apps.ingest.app import PREFIX, Ingest  # noqa: E402 - models need Django set up
from apps.ingest.protocol import HookProtocol  # noqa: E402 - as above
from apps.llm.duplicate_keeper import DuplicateKeeper  # noqa: E402 - as above

__all__ = ["HookProtocol", "application"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ingest = Ingest()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Ingest comes first: it is the hot path, and Django has no part in it."""
    kind = scope["type"]
    if kind == "http" and scope["path"].startswith(PREFIX):
        await ingest(scope, receive, send)
    elif kind == "lifespan":
        await run_lifespan(scope, receive, send)
    else:
        await behind_proxy(scope, receive, send)


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """Everything but ingest."""
    if scope["type"] == "http":
        await django_application(scope, receive, send)
    else:
        await websocket_application(scope, receive, send)


# Sign-in wants the visitor's address and scheme; ingest reads neither.
behind_proxy: Any = ProxyHeadersMiddleware(pages, settings.FORWARDED_ALLOW_IPS)


async def run_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Starts ingest with the server and stops it after the last request was answered."""
    await receive()
    await ingest.start()
    duplicates = DuplicateKeeper()
    await duplicates.start()
    scope.get("state", {})["ingest"] = ingest  # for apps.ingest.protocol
    # What the start has made stays: looking through it again and again costs ingest 4 %.
    gc.collect()
    gc.freeze()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await ingest.stop()
    await duplicates.stop()
    await send({"type": "lifespan.shutdown.complete"})
