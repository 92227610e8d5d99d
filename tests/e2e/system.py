"""A whole system, started by `manage.py up` as a user would, and the ways to talk to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page

from apps.sources.schemes import sign
from pipeline_admin.bootstrap.ports import free_ports
from tests.fixtures.browser import sign_in
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
WEBHOOK_SECRET = "whsec_" + "ZW5kLXRvLWVuZC10ZXN0cy0yNC1ieXRl"
PASSWORD = "a long password for tests"
SCHEMA = {
    "type": "object",
    "properties": {"category": {"type": "string"}},
    "required": ["category"],
}
STOP_WITHIN_S = 20
# What tests/conftest.py sets for in-process tests and a real start must not see.
INHERITED_NEVER = {
    "DATA_DIR", "SECRET_KEY", "VAULT_KEYS", "DATABASE_URL", "QUEUE_URL", "TEMPORAL_ADDRESS",
    "OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL", "EGRESS_ALLOW", "ALLOWED_HOSTS",
    "DJANGO_SETTINGS_MODULE",
}  # fmt: skip


def get_clean_environ() -> dict[str, str]:
    """The environment of a user, without what this test run has set."""
    return {name: value for name, value in os.environ.items() if name not in INHERITED_NEVER}


class System:
    """One running system: its folder, its address, and an administrator's token."""

    def __init__(self, process: subprocess.Popen[str], data_dir: Path, port: int) -> None:
        self.process = process
        self.data_dir = data_dir
        self.url = f"http://127.0.0.1:{port}"
        self.environ = get_clean_environ() | {"DATA_DIR": str(data_dir)}
        self.web = httpx.Client(base_url=self.url, timeout=30)
        self.api = httpx.Client(base_url=self.url, timeout=30)
        self._has_password = False

    def sign_in_by_token(self) -> None:
        token = self.run("create_token", "--user", "admin", "--scope", "all").strip()
        self.api.headers["Authorization"] = f"Bearer {token}"

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """What a management command prints, run against this system."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def sign_in(self, page: Page) -> None:
        """As the administrator, through the form; the live page is open then."""
        if not self._has_password:
            self.run(
                "shell", "-c",
                "from apps.accounts.models import User; user = User.objects.get(username='admin');"
                f"user.set_password({PASSWORD!r}); user.save()",
            )  # fmt: skip
            self._has_password = True
        sign_in(page, self.url, "admin", PASSWORD)

    # --- What an integrator does -------------------------------------------------------------

    def create(self, noun: str, **fields: Any) -> dict[str, Any]:
        answer = self.api.post(f"/api/v1/{noun}/", json=fields)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def create_way(self, name: str, destination: dict[str, Any] | None = None) -> str:
        """A source `name` with its own pipeline and destination (by default the inbox kind)."""
        self.create("destinations", slug=name, name=name, **(destination or {"kind": "inbox"}))
        self.create(
            "pipelines", slug=name, name=name, model="fake", output_schema=SCHEMA,
            prompt="Classify ticket {{ ticket }}: {{ text }}", destination=name,
        )  # fmt: skip
        self.create(
            "sources", slug=name, name=name, scheme="standard-webhooks", options={},
            secrets=[WEBHOOK_SECRET], pipeline=name,
        )  # fmt: skip
        return name

    def post(self, source: str, key: str, payload: dict[str, Any]) -> httpx.Response:
        """One signed webhook with the provider's id `key`."""
        body = json.dumps(payload).encode()
        headers = sign(
            "standard-webhooks", {}, WEBHOOK_SECRET, body, time.time(), key, payload.get("type", "")
        )
        return self.web.post(
            f"/hooks/{source}", content=body, headers=headers | {"Content-Type": "application/json"}
        )

    def post_all(
        self, source: str, payloads: dict[str, dict[str, Any]], threads: int = 8
    ) -> dict[str, httpx.Response]:
        with ThreadPoolExecutor(threads) as pool:
            answers = pool.map(lambda item: self.post(source, *item), payloads.items())
            return dict(zip(payloads, answers, strict=True))

    def post_until_accepted(self, source: str, key: str, payload: dict[str, Any]) -> str:
        """The event's id, tried as a provider does: again after each answer that is not a 2xx."""

        def accepted() -> str | None:
            try:
                answer = self.post(source, key, payload)
            except httpx.TransportError:
                return None
            return str(answer.json()["id"]) if answer.is_success else None

        return str(wait_until(accepted, 90, f"{key} to be accepted"))

    def get_events(self, **query: Any) -> list[dict[str, Any]]:
        """Every event that fits, over all pages."""
        found: list[dict[str, Any]] = []
        url: str | None = "/api/v1/events/"
        params: dict[str, Any] | None = query | {"page_size": 200}
        while url:
            answer = self.api.get(url, params=params)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += page["results"]
            url, params = page["next"], None
        return found

    def get_event(self, event_id: str) -> dict[str, Any]:
        answer = self.api.get(f"/api/v1/events/{event_id}/")
        assert answer.status_code in (200, 404), answer.text
        return dict(answer.json()) if answer.status_code == 200 else {"status": "absent"}

    def wait_for_status(self, event_id: str, status: str, timeout_s: float = 60) -> dict[str, Any]:
        wait_until(
            lambda: self.get_event(event_id)["status"] == status,
            timeout_s,
            f"{event_id} to be {status}",
        )
        return self.get_event(event_id)

    def wait_until_settled(self, source: str, count: int, timeout_s: float = 180) -> None:
        """Until `count` events of the source are in a state that only a person would change."""

        def settled() -> bool:
            # One look at all of them: between two, an event may move from one list to the other.
            states = [event["status"] for event in self.get_events(source=source)]
            return len(states) >= count and not {"queued", "running"} & set(states)

        wait_until(settled, timeout_s, f"{count} events of {source} to settle")

    # --- What goes wrong ---------------------------------------------------------------------

    def get_pid(self, part: str) -> int:
        """0 while the part waits for its restart."""
        rows = json.loads((self.data_dir / "parts.json").read_text())
        rows = rows["parts"] if isinstance(rows, dict) else rows
        return int(next(row["pid"] for row in rows if row["name"] == part) or 0)

    def kill(self, part: str) -> None:
        """SIGKILL, and wait until the supervisor has started it again."""
        before = self.get_pid(part)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: self.get_pid(part) not in (0, before), 60, f"{part} to come back")

    def is_ready(self) -> bool:
        try:
            answer = self.web.get("/readyz")
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and all(
            part["ok"] for part in answer.json()["parts"].values()
        )

    def wait_until_ready(self, timeout_s: float = 90) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, "`up` ended"
            return self.is_ready()

        wait_until(ready, timeout_s, "every part to be ready")

    def stop(self) -> int:
        """SIGTERM, as an init system would; the exit code."""
        self.web.close()
        self.api.close()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_WITHIN_S)


@contextmanager
def running_system(data_dir: Path, *options: str, **environ: str) -> Iterator[System]:
    """A system that `up` started in `data_dir`, ready, with an administrator's token."""
    port = free_ports(1)[0]
    log = (data_dir.parent / f"up-{uuid.uuid4().hex[:6]}.log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "manage.py", "up", "--port", str(port), "--data", str(data_dir), *options],
        cwd=ROOT, env=get_clean_environ() | environ, text=True,
        stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    system = System(process, data_dir, port)
    try:
        system.wait_until_ready()
        system.sign_in_by_token()
        yield system
    finally:
        if process.poll() is None:
            system.stop()
        log.seek(0)
        sys.stdout.write(log.read()[-4000:])
        log.close()
