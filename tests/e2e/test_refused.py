"""A provider rotated its secret first: what was refused is taken in by the browser, delivered."""

from __future__ import annotations

import base64
import json
import time
import uuid

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from apps.sources.schemes import sign
from tests.e2e.system import System
from tests.fixtures.browser import NewPage
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]

NEW_SECRET = "whsec_" + base64.b64encode(b"what-the-provider-signs-with-now").decode()


@pytest.fixture
def source(system: System) -> str:
    return system.create_way(f"shop-{uuid.uuid4().hex[:8]}")


@pytest.fixture(params=[("wide", "light"), ("wide", "dark"), ("phone", "light")], ids="-".join)
def page(request: pytest.FixtureRequest, system: System, new_page: NewPage) -> Page:
    page = new_page(*request.param)
    system.sign_in(page)
    return page


def post(system: System, source: str, key: str) -> int:
    body = json.dumps({"ticket": f"[[{key}]]", "text": "hi"}).encode()
    signed = sign("standard-webhooks", {}, NEW_SECRET, body, time.time(), key, "")
    headers = signed | {"Content-Type": "application/json"}
    return system.web.post(f"/hooks/{source}", content=body, headers=headers).status_code


def assert_usable(page: Page) -> None:
    violations = Axe().run(page).response["violations"]
    assert [each["id"] for each in violations if each["impact"] in ("serious", "critical")] == []
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth + 1")


def press(page: Page, name: str) -> None:
    """By keyboard alone."""
    button = page.get_by_role("button", name=name, exact=True)
    button.focus()
    button.press("Enter")


def test_what_was_refused_is_delivered_after_the_repair(
    system: System, source: str, page: Page
) -> None:
    assert [post(system, source, f"{source}-{number}") for number in range(3)] == [401] * 3
    page.goto(f"{system.url}/refused/?source={source}")
    expect(page.locator("tbody tr")).to_have_count(3)  # live: it need not be fetched again
    assert_usable(page)

    system.create("secrets", source=source, value=NEW_SECRET)
    page.locator("tbody a").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("does not match the active secret").first).to_be_visible()
    page.get_by_role("link", name="Verify again").press("Enter")
    expect(page.get_by_role("heading", name="It would pass now")).to_be_visible()
    assert_usable(page)
    press(page, "Verify and accept…")
    press(page, "Verify and accept")
    expect(page.get_by_text("It was accepted as evt_")).to_be_visible()

    page.goto(f"{system.url}/refused/?source={source}")
    press(page, "Verify and accept all that match…")
    expect(page.get_by_text("2 of 2 would pass now")).to_be_visible()
    assert_usable(page)
    press(page, "Accept what passes")
    expect(page.get_by_text("2 accepted.")).to_be_visible()

    system.wait_until_settled(source, 3)
    assert {event["status"] for event in system.get_events(source=source)} == {"delivered"}


def test_the_provider_s_own_retry_and_the_accepted_one_are_one_event(
    system: System, source: str
) -> None:
    key = f"{source}-again"
    assert post(system, source, key) == 401
    system.create("secrets", source=source, value=NEW_SECRET)
    wait_until(lambda: post(system, source, key) == 202, 10, "the retry to be accepted")
    system.wait_until_settled(source, 1)

    answer = system.api.post("/api/v1/refused-requests/accept/", json={"source": source}).json()

    assert (answer["done"], answer["duplicates"]) == (0, 1)
    assert len(system.get_events(source=source)) == 1
