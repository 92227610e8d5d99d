"""Every page can be used by everybody, light and dark, wide and on a phone."""

from __future__ import annotations

import uuid

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.system import System
from tests.fixtures.browser import NewPage

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]

PATHS = (
    "/", "/events/", "/dead-letters/", "/dead-letters/?status=held", "/refused/",
    "/sources/source/", "/sources/source/add/", "/sources/source/add/?scheme=stripe",
    "/sources/source/1/change/", "/pipelines/pipeline/", "/pipelines/pipeline/1/change/",
    "/pipelines/pipeline/ready/", "/pipelines/pipeline/ready/lead-scoring/",
    "/destinations/destination/",
    "/destinations/inboxitem/", "/accounts/user/", "/accounts/apitoken/", "/audit/auditentry/",
    "/costs/", "/llm/budget/", "/llm/budget/add/", "/llm/provider/", "/llm/provider/add/",
    "/llm/providermodel/", "/llm/providermodel/add/", "/batches/",
    "/api/docs/",
)  # fmt: skip
GRAVE = {"serious", "critical"}


@pytest.fixture(params=[("wide", "light"), ("wide", "dark"), ("phone", "light")], ids="-".join)
def page(request: pytest.FixtureRequest, system: System, new_page: NewPage) -> Page:
    page = new_page(*request.param)
    system.sign_in(page)
    return page


def find_grave_violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{page.url} {violation['id']}: {node['html'][:200]}"
        for violation in found
        if violation["impact"] in GRAVE
        for node in violation["nodes"][:3]
    ]


def test_no_page_keeps_anybody_out(system: System, page: Page) -> None:
    found: list[str] = []
    for path in PATHS:
        answer = page.goto(system.url + path)
        assert answer is not None
        assert answer.status == 200, path
        found += find_grave_violations(page)
        overflow = page.evaluate("document.documentElement.scrollWidth > innerWidth + 1")
        assert not overflow, f"{path} scrolls sideways"
    assert found == []


def test_the_keyboard_alone_opens_an_event(system: System, page: Page) -> None:
    source = f"keys-{uuid.uuid4().hex[:8]}"
    system.create_way(source)
    answer = system.post(source, "k-1", {"ticket": "[[keys-1]]", "text": "hi"})
    assert answer.status_code == 202, answer.text
    event_id = answer.json()["id"]
    system.wait_for_status(event_id, "delivered")
    page.goto(f"{system.url}/events/?source={source}")
    link = page.locator(f'a[href="/events/{event_id}/"]').first
    expect(link).to_be_visible()
    for _ in range(80):
        page.keyboard.press("Tab")
        if link.evaluate("node => node === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url(f"{system.url}/events/{event_id}/")
    assert find_grave_violations(page) == []
