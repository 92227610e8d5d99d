"""Whatever a sender wrote and a model repeats: on our pages it is text, and nothing of it runs."""

from __future__ import annotations

import uuid
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request

from tests.e2e.system import System
from tests.fixtures.attacks import ATTACKS, HOST
from tests.fixtures.browser import NewPage
from tests.fixtures.fake_llm import FakeLLM

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]

EVENTS = 5
# No answer can hold these two; in a payload they can come.
NO_ANSWER = ("control-letters", "lone-surrogate")
ACTIVE = ", ".join(
    (
        f'[href*="{HOST}"]', f'[src*="{HOST}"]', f'[action*="{HOST}"]', f'[hx-get*="{HOST}"]',
        '[href^="javascript:"]', "#content iframe", "[onerror]", "[onload]", "[onfocus]", "base",
        'meta[http-equiv="refresh"]', "#content [x-init=\"window.pwned=1\"]",
    )
)  # fmt: skip


class Watch:
    """What the browser did that no page of ours asks for."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.own = page, urlsplit(url).netloc
        self.strange: list[str] = []
        page.on("request", self._note)
        page.on("dialog", lambda dialog: self.strange.append(f"dialog {dialog.message}"))
        page.on("popup", lambda popup: self.strange.append(f"popup {popup.url}"))

    def _note(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.netloc != self.own:
            self.strange.append(request.url)

    def check(self) -> None:
        assert self.page.evaluate("window.pwned") is None
        assert "PWNED" not in self.page.title()
        assert self.page.locator(ACTIVE).count() == 0
        assert self.page.locator("#content").is_visible()
        assert self.strange == []


@pytest.fixture
def attacked(system: System, provider: FakeLLM) -> dict[str, str]:
    """Ids of events that are made of attacks, by what their payload and their answer begin with."""
    name = f"attacks-{uuid.uuid4().hex[:8]}"
    system.create_way(name)
    names = list(ATTACKS)
    ids = {}
    for number in range(EVENTS):
        mine = names[number::EVENTS]
        marker = f"{name}-{number}"
        said = "\n".join(ATTACKS[each] for each in mine if each not in NO_ANSWER)
        provider.answers[marker] = {"category": said, "<script>pwned=1</script>": said}
        text = "\n".join(ATTACKS[each] for each in mine)
        payload = {"ticket": f"[[{marker}]]", "text": text, "type": ATTACKS[mine[0]][:100]}
        ids[ATTACKS[mine[0]]] = system.post_until_accepted(name, marker, payload)
    for event_id in ids.values():
        system.wait_for_status(event_id, "delivered")
    dead = {"ticket": f"[[{name}-dead: not-json]]", "text": ATTACKS["script"]}
    ids["Sure! The category"] = system.post_until_accepted(name, f"{name}-dead", dead)
    system.wait_for_status(ids["Sure! The category"], "dead")
    return ids


@pytest.mark.parametrize(("size", "scheme"), [("wide", "light"), ("phone", "dark")])
def test_nothing_of_an_attack_runs_or_leaves(
    size: str, scheme: str, system: System, attacked: dict[str, str], new_page: NewPage
) -> None:
    page = new_page(size, scheme)
    watch = Watch(page, system.url)
    system.sign_in(page)
    for begins, event_id in attacked.items():
        answer = page.goto(f"{system.url}/events/{event_id}/")
        assert answer is not None
        assert answer.status == 200
        page.wait_for_load_state("networkidle")
        watch.check()
        shown = page.locator("#content").inner_text()
        assert begins.split("\n")[0][:20] in shown  # it is there, as text
    for path in (
        "/",
        "/events/",
        "/events/?q=script",
        "/dead-letters/",
        "/destinations/inboxitem/",
    ):
        page.goto(system.url + path)
        page.wait_for_timeout(300)  # what would be fetched on load
        watch.check()


def test_the_policy_of_a_page_forbids_what_escaping_prevents(
    system: System, attacked: dict[str, str], new_page: NewPage
) -> None:
    page = new_page()
    system.sign_in(page)
    answer = page.goto(f"{system.url}/events/{next(iter(attacked.values()))}/")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    rules = dict(part.strip().partition(" ")[::2] for part in policy.split(";") if part.strip())
    assert "'unsafe-inline'" not in rules["script-src"]
    assert "http" not in rules["script-src"]
    for name in ("default-src", "img-src", "connect-src", "form-action", "base-uri"):
        assert "*" not in rules[name], name
    assert "'none'" in rules.get("object-src", rules["default-src"])
