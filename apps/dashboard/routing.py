"""Addresses of WebSockets; pages of other origins are refused before the handshake ends."""

from __future__ import annotations

from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from channels.sessions import SessionMiddlewareStack
from django.urls import path

from apps.dashboard.consumers import LiveConsumer

websocket_application = AllowedHostsOriginValidator(
    SessionMiddlewareStack(URLRouter([path("ws/live/", LiveConsumer.as_asgi())]))
)
