"""Support staff at work: an event arrives by itself, a dead letter is retried on the page."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.system import System
from tests.fixtures.browser import NewPage
from tests.fixtures.fake_destination import SECRET, FakeDestination
from tests.fixtures.fake_llm import FakeLLM

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]

ARRIVES_WITHIN_MS = 2_000


@pytest.fixture
def page(system: System, new_page: NewPage) -> Page:
    """The live page, signed in as the administrator."""
    page = new_page()
    system.sign_in(page)
    expect(page.locator("#live-state")).to_have_attribute("data-state", "live")
    return page


def test_an_event_appears_without_a_reload_and_opens(system: System, page: Page) -> None:
    source = system.create_way("watched")
    event_id = system.post(source, "w-1", {"ticket": "[[watched-1]]", "text": "hi"}).json()["id"]
    link = page.locator(f'a[href="/events/{event_id}/"]').first
    expect(link).to_be_visible(timeout=ARRIVES_WITHIN_MS)
    link.click()
    expect(page.get_by_role("heading", name=re.compile("Payload"))).to_be_visible()
    expect(page.get_by_text("Delivered").first).to_be_visible(timeout=20_000)


def test_a_dead_letter_is_retried_on_the_page_and_not_paid_again(
    system: System, page: Page, provider: FakeLLM, receiver: FakeDestination
) -> None:
    receiver.plan = ["400"]  # for good: no waiting for five attempts here
    source = system.create_way(
        "mended", {"kind": "http", "url": f"{receiver.url}/mended", "secret": SECRET}
    )
    event_id = system.post(source, "m-1", {"ticket": "[[mended-1]]", "text": "hi"}).json()["id"]
    system.wait_for_status(event_id, "dead")
    receiver.plan = ["200"]

    page.goto(f"{system.url}/dead-letters/")
    page.locator(f'a[href="/events/{event_id}/"]').first.click()
    page.get_by_role("button", name="Retry…").click()
    page.locator("#confirm-retry").get_by_role("button", name="Retry").click()
    expect(page.get_by_text("Delivered").first).to_be_visible(timeout=20_000)
    assert provider.calls["mended-1"] == 1
    assert receiver.accepted[event_id] == 1
