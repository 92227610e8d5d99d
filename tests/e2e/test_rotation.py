"""A secret is rotated in the browser while the sender goes on sending: nothing is refused."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from apps.sources.schemes import sign
from tests.e2e.system import WEBHOOK_SECRET, System
from tests.fixtures.browser import NewPage
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]


class Sender:
    """Sends an event every few milliseconds, each once, whatever it is answered."""

    def __init__(self, system: System, source: str) -> None:
        self.web = httpx.Client(base_url=system.url, timeout=10)
        self.source = source
        self.secret = WEBHOOK_SECRET
        self.answers: Counter[int] = Counter()
        self.stop_event = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        while not self.stop_event.wait(0.05):
            self.answers[self.post(f"r-{self.answers.total()}", self.secret)] += 1

    def post(self, key: str, secret: str) -> int:
        body = json.dumps({"ticket": f"[[{key}]]", "text": "hi"}).encode()
        signed = sign("standard-webhooks", {}, secret, body, time.time(), key, "")
        headers = signed | {"Content-Type": "application/json"}
        return self.web.post(f"/hooks/{self.source}", content=body, headers=headers).status_code

    def wait_for_more(self) -> None:
        enough = self.answers.total() + 10
        wait_until(lambda: self.answers.total() >= enough, 20, "ten more events")


@pytest.fixture
def source(system: System) -> str:
    return system.create_way("rotated")


@pytest.fixture
def sender(system: System, source: str) -> Iterator[Sender]:
    sender = Sender(system, source)
    sender.thread.start()
    yield sender
    sender.stop_event.set()
    sender.thread.join()
    sender.web.close()


@pytest.fixture
def page(system: System, source: str, new_page: NewPage) -> Page:
    """The page of the source."""
    page = new_page()
    system.sign_in(page)
    page.goto(f"{system.url}/sources/source/")
    page.get_by_role("link", name=source).first.click()
    return page


def rotate(page: Page) -> str:
    """By keyboard; the new value, which this one page shows."""
    page.get_by_role("link", name="Rotate…").press("Enter")
    page.get_by_label("Name").fill("second")
    page.get_by_label("Name").press("Enter")
    value = page.locator("#secret").inner_text()
    page.get_by_role("link", name=re.compile("^Go to")).press("Enter")
    return value


def test_a_rotation_under_load_refuses_nothing_and_says_who_signed_what(
    system: System, source: str, sender: Sender, page: Page
) -> None:
    sender.wait_for_more()
    new_secret = rotate(page)
    expect(page.get_by_text("no event has come yet that is signed with a newer")).to_be_visible()
    sender.wait_for_more()

    wait_until(lambda: sender.post("probe", new_secret) in (200, 202), 10, "the new secret")
    sender.secret = new_secret
    sender.wait_for_more()

    first = re.compile(r"^Retire Secret \d+$")  # the new one has its name in brackets
    page.get_by_role("button", name=first).press("Enter")
    expect(page.get_by_text("senders still use it")).to_be_visible()
    page.get_by_role("button", name="Retire it all the same").press("Enter")
    expect(page.get_by_text("1 retired", exact=True)).to_be_visible()
    wait_until(lambda: sender.post("late", WEBHOOK_SECRET) == 401, 10, "the end of the old one")
    sender.wait_for_more()

    sender.stop_event.set()
    sender.thread.join()
    assert set(sender.answers) == {202}
    system.wait_until_settled(source, sender.answers.total())
    signed_with = {
        event["idempotency_key"]: event["secret"]["label"]
        for event in system.get_events(source=source)
    }
    assert re.fullmatch(r"Secret \d+", signed_with["r-0"])
    assert signed_with[f"r-{sender.answers.total() - 1}"].endswith("(second)")
