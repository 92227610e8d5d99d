"""Who may do what in the API: one table, asked for every role."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from apps.accounts.models import User
from apps.api.router import NOUNS
from apps.destinations.models import Destination
from apps.events.models import Status
from apps.llm.models import Provider, ProviderModel
from apps.sources.models import Source
from tests.api.clients import assert_problem, with_session, with_token
from tests.fixtures.cast import make_event, make_user
from tests.fixtures.refused import OTHER_SECRET, make_refused

ADMIN, SUPPORT, VIEWER = {"admin"}, {"admin", "support"}, {"admin", "support", "viewer"}
PIPELINE = {"slug": "p2", "name": "P2", "prompt": "Say {{ text }}", "destination": "inbox"}
READY = {"slug": "p3", "name": "P3", "destination": "inbox"}
BACKTEST = {"pipeline": "triage", "token": "v1", "count": 1, "cap_usd": 1}
PROVIDER = {"slug": "p2", "name": "P", "base_url": "http://127.0.0.1:1/v1", "skip_test": True}
NOBODY = "00000000-0000-0000-0000-000000000000"
SOURCE = {"slug": "s2", "name": "S2", "scheme": "github", "secrets": ["s"], "pipeline": "triage"}


@dataclass(frozen=True)
class Door:
    """One request, who is let in, and what they are answered."""

    method: str
    path: str
    roles: set[str]
    status: int = 200
    body: Any = None


DOORS = (
    Door("get", "events/", VIEWER),
    Door("get", "events/{event}/", VIEWER),
    Door("post", "events/{event}/retry/", SUPPORT, 202),
    Door("post", "events/{event}/discard/", SUPPORT),
    Door("post", "events/{event}/fail/", SUPPORT, 409),  # it is held for no call
    Door("post", "events/{event}/look-up/", SUPPORT, 409),
    Door("get", "events/{event}/conflicts/", VIEWER),
    Door("post", "events/{event}/conflicts/process/", SUPPORT, 202, {}),
    Door("get", "dead-letters/", VIEWER),
    Door("post", "dead-letters/retry/", SUPPORT, 202, {}),
    Door("post", "dead-letters/discard/", SUPPORT, 200, {}),
    Door("post", "dead-letters/unbury/", SUPPORT, 202, {}),
    Door("get", "refused-requests/", VIEWER),
    Door("get", "refused-requests/{refused}/", VIEWER),
    Door("post", "refused-requests/{refused}/verify/", VIEWER),
    Door("post", "refused-requests/{refused}/accept/", SUPPORT, 409),  # it does not pass
    Door("post", "refused-requests/{refused}/discard/", SUPPORT),
    Door("post", "refused-requests/accept/", SUPPORT, 200, {}),
    Door("post", "refused-requests/discard/", SUPPORT, 200, {}),
    Door("get", "approvals/", VIEWER),
    Door("post", "approvals/0/approve/", SUPPORT, 404),
    Door("post", "approvals/0/edit/", SUPPORT, 404, {"answer": {}}),
    Door("post", "approvals/0/reject/", SUPPORT, 404),
    Door("get", "breakers/", VIEWER),
    Door("post", "breakers/0123456789abcdef/close/", ADMIN, 404),  # it is not open
    Door("get", "providers/", VIEWER),
    Door("get", "providers/spare/", VIEWER),
    Door("post", "providers/", ADMIN, 201, PROVIDER),
    Door("patch", "providers/spare/", ADMIN, 200, {"name": "Other"}),
    Door("post", "providers/spare/test/", ADMIN, 409),  # nobody answers there
    Door("delete", "providers/spare/", ADMIN, 204),
    Door("get", "models/", VIEWER),
    Door("get", "models/{model}/", VIEWER),
    Door("post", "models/", ADMIN, 201, {"name": "m2"}),
    Door("patch", "models/{model}/", ADMIN, 200, {"context_tokens": 9}),
    Door("delete", "models/{model}/", ADMIN, 204),
    Door("get", "stats/", VIEWER),
    Door("get", "sources/", VIEWER),
    Door("get", "sources/helpdesk/", VIEWER),
    Door("post", "sources/", ADMIN, 201, SOURCE),
    Door("patch", "sources/helpdesk/", ADMIN, 200, {"name": "Desk"}),
    Door("post", "sources/helpdesk/test/", ADMIN),
    Door("post", "sources/helpdesk/pause/", ADMIN),
    Door("post", "sources/helpdesk/resume/", ADMIN, 409),
    Door("post", "sources/helpdesk/rehearse/", ADMIN, 200, {"rules": {}}),
    Door("delete", "sources/helpdesk/", ADMIN, 409),
    Door("get", "secrets/", ADMIN),
    Door("get", "secrets/{secret}/", ADMIN),
    Door("post", "secrets/", ADMIN, 201, {"source": "helpdesk"}),
    Door("patch", "secrets/{secret}/", ADMIN, 200, {"name": "from the desk"}),
    Door("post", "secrets/{secret}/retire/", ADMIN),
    Door("delete", "secrets/{secret}/", ADMIN, 204),
    Door("get", "pipelines/", VIEWER),
    Door("get", "pipelines/ready/", VIEWER),
    Door("post", "pipelines/ready/lead-scoring/", ADMIN, 201, READY),
    Door("get", "pipelines/triage/", VIEWER),
    Door("get", "pipelines/triage/versions/", VIEWER),
    Door("get", "pipelines/triage/diff/?from=1&to=draft", VIEWER),
    Door("get", "pipelines/triage/draft/", VIEWER),
    Door("patch", "pipelines/triage/draft/", ADMIN, 200, {"token": "v1", "prompt": "{{ text }}"}),
    Door("delete", "pipelines/triage/draft/?token=old", ADMIN, 409),
    Door("post", "pipelines/triage/publish/", ADMIN, 409, {"token": "old"}),
    Door("post", "pipelines/triage/dry-run/", ADMIN, 409, {"token": "old", "event": "evt_0"}),
    Door("get", "pipelines/triage/samples/", ADMIN),
    Door("post", "pipelines/triage/samples/", ADMIN, 201, {"body": {"text": "a"}}),
    Door("delete", f"pipelines/triage/samples/smp_{'0' * 32}/", ADMIN, 404),
    Door("post", "pipelines/triage/rollback/", ADMIN, 404, {"version": 9}),
    Door("get", "backtests/", ADMIN),
    Door("get", f"backtests/{NOBODY}/", ADMIN, 404),
    Door("get", f"backtests/{NOBODY}/rows/", ADMIN, 404),
    Door("post", "backtests/estimate/", ADMIN, 200, {"pipeline": "triage", "count": 1}),
    Door("post", "backtests/", ADMIN, 409, BACKTEST),  # the price is not known
    Door("post", f"backtests/{NOBODY}/cancel/", ADMIN, 404),
    Door("post", f"backtests/{NOBODY}/resume/", ADMIN, 404, {"cap_usd": 1}),
    Door("post", "pipelines/", ADMIN, 201, PIPELINE),
    Door("patch", "pipelines/triage/", ADMIN, 200, {"prompt": "Sort {{ text }}"}),
    Door("delete", "pipelines/triage/", ADMIN, 409),
    Door("get", "destinations/", VIEWER),
    Door("get", "destinations/inbox/", VIEWER),
    Door("post", "destinations/", ADMIN, 201, {"slug": "i2", "name": "I2", "kind": "inbox"}),
    Door("patch", "destinations/inbox/", ADMIN, 200, {"name": "Box"}),
    Door("delete", "destinations/spare/", ADMIN, 204),
    Door("get", "tokens/", ADMIN),
    Door("get", "tokens/{token}/", ADMIN),
    Door("post", "tokens/", ADMIN, 201, {"name": "t", "scopes": ["all"]}),
    Door("post", "tokens/{token}/revoke/", ADMIN),
    Door("delete", "tokens/{token}/", ADMIN, 204),
    Door("get", "audit/", ADMIN),
)
IDS = [f"{door.method} {door.path}" for door in DOORS]


def knock(door: Door, user: User, helpdesk: Source) -> Any:
    """Ask at the door, in a world where what it names exists."""
    Destination.objects.create(slug="spare", name="Spare", kind="inbox")
    Provider.objects.create(slug="spare", name="Spare", base_url="http://127.0.0.1:1/v1")
    event = make_event(helpdesk, status=Status.DEAD)
    client = with_token(user)
    names = {
        "event": event.public_id,
        "secret": helpdesk.secrets.get().pk,
        "refused": make_refused(helpdesk, secret=OTHER_SECRET).public_id,
        "model": ProviderModel.objects.create(name="m1").pk,
        "token": user.api_tokens.get().pk,
    }
    path = "/api/v1/" + door.path.format(**names)
    return getattr(client, door.method)(path, door.body, format="json")


@pytest.mark.parametrize("role", ["admin", "support", "viewer"])
@pytest.mark.parametrize("door", DOORS, ids=IDS)
def test_a_door_opens_to_its_roles_only(helpdesk: Source, door: Door, role: str) -> None:
    response = knock(door, make_user("someone", role), helpdesk)
    if role in door.roles:
        assert response.status_code == door.status, response.content
    else:
        assert_problem(response, 403, "Your role lacks the permission")


@pytest.mark.parametrize("door", DOORS, ids=IDS)
def test_a_stranger_comes_in_nowhere(helpdesk: Source, charlie: User, door: Door) -> None:
    assert_problem(knock(door, charlie, helpdesk), 403, "Your role lacks the permission")


def test_every_action_of_the_api_stands_in_the_table() -> None:
    extra: list[tuple[str, Any]] = [
        (noun, action)
        for noun, view_set in NOUNS.items()
        for action in view_set.get_extra_actions()
    ]
    actions = {(noun, action.url_path.split("/")[-1]) for noun, action in extra}
    paths = [door.path.partition("?")[0].rstrip("/").split("/") for door in DOORS]
    known = {(path[0], path[-1]) for path in paths}
    missing = {  # the last part may be a pattern
        (noun, last)
        for noun, last in actions
        if not any(noun == first and re.fullmatch(last, name) for first, name in known)
    }
    assert missing == set()


def test_every_action_says_what_it_needs() -> None:
    routine = ("list", "retrieve", "create", "partial_update", "destroy")
    for view_set in NOUNS.values():
        own = [name for name in routine if hasattr(view_set, name)]
        extra: list[Any] = view_set.get_extra_actions()
        for action in extra:
            own += action.mapping.values()  # one address may have a method for each verb
        assert set(own) == set(view_set.access), view_set


def test_a_browser_reads_by_its_session_and_writes_with_csrf_only(
    bob: User, helpdesk: Source
) -> None:
    event = make_event(helpdesk, status=Status.DEAD)
    browser = with_session(bob)
    assert browser.get("/api/v1/events/").status_code == 200
    refused = browser.post(f"/api/v1/events/{event.public_id}/discard/")
    assert_problem(refused, 403, "CSRF")
