"""`manage.py web`: pages, API and ingest."""

from __future__ import annotations

import os
import tempfile
from argparse import ArgumentParser
from typing import Any

import uvicorn
from django.core.management.base import BaseCommand

# Ctrl-C of `up` must stop all parts within 15 s; every request is answered within 2 s.
GRACEFUL_SHUTDOWN_S = 4


class Command(BaseCommand):
    help = "Serves pages, API and ingest."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument(
            "--workers", type=int, default=1, help="Processes that share the port, one a core."
        )

    def handle(self, *args: Any, host: str, port: int, workers: int, **options: Any) -> None:
        if workers > 1:
            # Each worker counts for itself; Prometheus adds them up from files in this folder.
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="metrics-"))
        uvicorn.run(
            "pipeline_admin.asgi:application",
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            # By name: further workers are new processes, which must set Django up before it.
            http="pipeline_admin.asgi:HookProtocol",
            lifespan="on",
            interface="asgi3",
            proxy_headers=False,  # asgi.py minds them, for all but ingest
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
        )
