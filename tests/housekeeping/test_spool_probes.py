"""What probes, scrapers and the live page say of the local spool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from apps.accounts.models import User
from apps.housekeeping.health import get_parts
from apps.streams.spool.folders import Folder
from apps.streams.spool.status import write_status

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _queue_is_down(settings: Settings) -> None:
    settings.QUEUE_URLS = ["unix:///nowhere.sock"]


def spool_of_a_process(root: Path, events: int, why: str = "") -> Folder:
    folder = Folder.create(root)
    (folder.path / "shard.00000001.0.spool").write_bytes(b"x" * 1000)
    write_status(folder.path, events, why)
    return folder


def read(client: Client) -> tuple[int, dict[str, Any]]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json()["parts"]


def test_it_is_ready_while_the_spool_takes_what_comes(client: Client, spool_dir: Path) -> None:
    spool_of_a_process(spool_dir, 1200)
    spool_of_a_process(spool_dir, 4)
    status, parts = read(client)
    assert status == 200
    assert parts["queue"]["ok"] is False
    assert parts["queue"]["why"].endswith("1,204 events wait in the local spool.")
    assert parts["spool"] == {"ok": True, "why": ""}


def test_it_is_not_ready_where_the_spool_is_full_too(client: Client, spool_dir: Path) -> None:
    spool_of_a_process(spool_dir, 7, "The local spool is full.")
    status, parts = read(client)
    assert status == 503
    assert parts["spool"] == {"ok": False, "why": "The local spool is full."}


def test_one_process_with_room_is_enough(client: Client, spool_dir: Path) -> None:
    spool_of_a_process(spool_dir, 7, "The local spool is full.")
    spool_of_a_process(spool_dir, 0)
    assert read(client)[0] == 200


def test_without_a_spool_it_is_no_part(settings: Settings, spool_dir: Path) -> None:
    spool_of_a_process(spool_dir, 7)
    settings.SPOOL_MAX_BYTES = 0
    parts = get_parts()
    assert "spool" not in parts
    assert not parts["queue"].is_usable


def test_the_live_page_says_what_waits_although_nobody_takes_samples(
    client: Client, spool_dir: Path, alice: User
) -> None:
    client.force_login(alice)
    url = reverse("live:parts")
    assert "Local spool" not in client.get(url).content.decode()
    folder = spool_of_a_process(spool_dir, 1)
    page = client.get(url).content.decode()
    assert "Local spool" in page
    assert "1 event waits in the local spool." in page
    write_status(folder.path, 1, "The local spool is full.")
    assert "The local spool is full." in client.get(url).content.decode()


def test_metrics_add_up_the_processes(client: Client, spool_dir: Path) -> None:
    spool_of_a_process(spool_dir, 1200)
    spool_of_a_process(spool_dir, 4)
    text = client.get("/metrics").content.decode()
    assert "pipeline_spool_events 1204.0" in text
    assert "pipeline_spool_bytes 2000.0" in text
    assert "pipeline_spool_takes 1.0" in text
