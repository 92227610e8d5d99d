"""The ASGI application: ingest in front, then Channels, then Django."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pipeline_admin.settings")

from django.core.asgi import get_asgi_application

application = get_asgi_application()
