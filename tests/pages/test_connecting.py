"""From the picker to the first event: what each page says, and to whom."""

from __future__ import annotations

from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from apps.accounts.models import User
from apps.destinations.models import Destination
from apps.ingest.models import RefusedRequest
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from apps.sources.picker import get_picks
from apps.sources.schemes import SCHEMES
from tests.fixtures.cast import WEBHOOK_SECRET, make_event
from tests.pages.conftest import Browse, text_of

ADD = "/sources/source/add/"
STRIPE_SECRET = "whsec_" + "dHlwZWQtYnktYW4tYWRtaW5pc3RyYXRvcg=="
PUBLIC_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe6"
    "2gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
)


@pytest.fixture
def client(sign_in: Browse, alice: User) -> Client:
    return sign_in(alice)


def add_source(client: Client, scheme: str, pipeline: Pipeline, **changes: Any) -> Any:
    form = {"name": "New", "slug": "new", "pipeline": pipeline.pk}
    form |= {f"option_{name}": "" for name in SCHEMES[scheme].default_options}
    options = {f"option_{k}": v or "" for k, v in SCHEMES[scheme].default_options.items()}
    return client.post(f"{ADD}?scheme={scheme}", form | options | changes, follow=True)


def refuse(source: Source, reason: str) -> RefusedRequest:
    now = timezone.now()
    return RefusedRequest.objects.create(
        source=source, received_at=now, last_received_at=now, method="POST", code="bad_signature",
        reason=reason, size_bytes=2, kept_bytes=2, body_digest="x", content=b"{}",
    )  # fmt: skip


# --- Picking ----------------------------------------------------------------------------------


def test_every_scheme_is_offered_once_and_github_first(client: Client, triage: Pipeline) -> None:
    html = text_of(client.get(ADD))

    places = [html.find(f'href="?scheme={slug}"') for slug in SCHEMES]
    assert -1 not in places
    assert html.count('href="?scheme=') == len(SCHEMES)
    assert min(places) == html.find('href="?scheme=github"')


@pytest.mark.parametrize(
    ("typed", "slug"),
    [("facebook", "meta-whatsapp"), ("aws", "aws-sns"), ("x (t", "twitter"), ("gitlab", "gitlab")],
)
def test_a_provider_is_found_by_the_name_people_know(typed: str, slug: str) -> None:
    picks = [pick for group in get_picks().values() for pick in group]
    assert slug in {pick.info.slug for pick in picks if typed in pick.words}


def test_without_a_pipeline_the_way_leads_to_one(client: Client) -> None:
    assert 'href="/pipelines/pipeline/add/"' in text_of(client.get(ADD))
    assert 'href="/pipelines/pipeline/add/"' in text_of(client.get(f"{ADD}?scheme=github"))


def test_the_form_is_filled_so_that_it_can_be_saved_as_it_is(
    client: Client, triage: Pipeline
) -> None:
    Source.objects.create(slug="github", name="GitHub", scheme="github", pipeline=triage)

    html = text_of(client.get(f"{ADD}?scheme=github"))

    assert 'value="GitHub"' in html
    assert 'value="github-2"' in html
    assert f'<option value="{triage.pk}" selected>' in html


def test_of_several_pipelines_none_is_chosen_for_you(client: Client, triage: Pipeline) -> None:
    Pipeline.objects.create(slug="second", name="Second")
    html = text_of(client.get(f"{ADD}?scheme=github"))
    assert f'<option value="{triage.pk}" selected>' not in html


# --- The secret -------------------------------------------------------------------------------


def test_a_made_secret_stands_in_the_snippets_of_the_page_that_shows_it(
    client: Client, triage: Pipeline
) -> None:
    html = text_of(add_source(client, "github", triage))

    value = Source.objects.get().secrets.get().value
    assert f'id="secret" tabindex="0">{value}</pre>' in html
    assert html.count(value) == 4  # itself and three languages
    assert "Waiting for the first event" in html


def test_a_secret_of_the_url_stands_in_the_url_that_is_shown(
    client: Client, triage: Pipeline
) -> None:
    html = text_of(add_source(client, "url-token", triage))

    value = Source.objects.get().secrets.get().value
    assert f"/hooks/new?token={value}</pre>" in html


def test_the_pages_snippets_ask_for_the_secret_afterwards(client: Client, helpdesk: Source) -> None:
    html = text_of(client.get(f"/sources/source/{helpdesk.pk}/change/"))

    assert WEBHOOK_SECRET.removeprefix("whsec_") not in html
    assert "process.env.SECRET" in html


def test_a_providers_own_secret_may_come_after_the_url(client: Client, triage: Pipeline) -> None:
    html = text_of(add_source(client, "stripe", triage))

    source = Source.objects.get()
    assert not source.secrets.exists()
    assert "Paste the secret of Stripe" in html
    assert f'action="/sources/source/{source.pk}/secrets/"' in html


def test_a_pasted_secret_is_stored_and_not_sent_back(client: Client, triage: Pipeline) -> None:
    add_source(client, "stripe", triage)
    source = Source.objects.get()

    path = f"/sources/source/{source.pk}/secrets/"
    html = text_of(client.post(path, {"value": STRIPE_SECRET}, follow=True))

    assert source.secrets.get().value == STRIPE_SECRET
    assert STRIPE_SECRET not in html
    assert "The secret is stored" in html


def test_a_typed_secret_is_not_sent_back(client: Client, triage: Pipeline) -> None:
    html = text_of(add_source(client, "github", triage, secret="typed-by-alice"))

    assert Source.objects.get().secrets.get().value == "typed-by-alice"
    assert "typed-by-alice" not in html


def test_where_only_the_provider_can_sign_the_page_says_where_it_does(
    client: Client, triage: Pipeline
) -> None:
    html = text_of(add_source(client, "sendgrid", triage, secret=PUBLIC_KEY))

    assert "Send a test event" not in html
    assert "Test Integration" in html


def test_a_verify_token_is_made_and_shown(client: Client, triage: Pipeline) -> None:
    form = text_of(client.get(f"{ADD}?scheme=meta-whatsapp"))
    token = form.split('name="option_verify_token" value="')[1].split('"')[0]
    assert len(token) == 24

    html = text_of(add_source(client, "meta-whatsapp", triage, option_verify_token=token))

    assert f"Verify token: <code>{token}</code>" in html


# --- The first event --------------------------------------------------------------------------


def get_arrivals(client: Client, source: Source, seen: str = "") -> Any:
    return client.get(f"/sources/source/{source.pk}/arrivals/?seen={quote(seen)}")


def test_it_waits_until_an_event_is_there(client: Client, helpdesk: Source) -> None:
    assert "Waiting for the first event" in text_of(get_arrivals(client, helpdesk, "other"))

    event = make_event(helpdesk, event_type="ticket.created")

    html = text_of(get_arrivals(client, helpdesk))
    assert "Waiting" not in html
    assert f"/events/{event.public_id}/" in html
    assert "just now" in html


def test_nothing_is_sent_again_that_the_page_shows_already(
    client: Client, helpdesk: Source
) -> None:
    make_event(helpdesk)
    html = text_of(get_arrivals(client, helpdesk))
    url = html.split('hx-get="')[1].split('"')[0]

    assert client.get(url).status_code == 204
    refuse(helpdesk, "The signature does not match the active secret.")
    assert client.get(url).status_code == 200


def test_a_refused_request_is_told_until_one_is_accepted(client: Client, helpdesk: Source) -> None:
    refuse(helpdesk, "The signature does not match the active secret.")
    html = text_of(get_arrivals(client, helpdesk, "other"))
    assert "Refused: The signature does not match the active secret." in html

    make_event(helpdesk)
    assert "Refused" not in text_of(get_arrivals(client, helpdesk))


def test_a_running_source_folds_the_set_up_away(client: Client, helpdesk: Source) -> None:
    path = f"/sources/source/{helpdesk.pk}/change/"
    assert "Give the sender this URL" in text_of(client.get(path))

    make_event(helpdesk)

    assert "Give the sender this URL" not in text_of(client.get(path))


def test_the_list_says_when_each_source_was_heard_of_last(
    client: Client, helpdesk: Source, triage: Pipeline
) -> None:
    event = make_event(helpdesk)
    Source.objects.create(slug="quiet", name="Quiet", scheme="github", pipeline=triage)

    html = text_of(client.get("/sources/source/"))

    assert f"{event.received_at:%Y-%m-%d %H:%M:%S} UTC" in html
    assert html.count('class="pa-time"') == 1


# --- Who may ----------------------------------------------------------------------------------


def test_a_viewer_sees_the_address_but_nothing_that_signs(
    sign_in: Browse, vera: User, helpdesk: Source
) -> None:
    client = sign_in(vera)
    html = text_of(client.get(f"/sources/source/{helpdesk.pk}/change/"))

    assert "/hooks/helpdesk" in html
    assert "Send a test event" not in html
    assert "openssl" not in html
    assert client.post(f"/sources/source/{helpdesk.pk}/test/").status_code == 403
    assert get_arrivals(client, helpdesk, "other").status_code == 200


def test_a_stranger_gets_nothing(sign_in: Browse, charlie: User, helpdesk: Source) -> None:
    assert get_arrivals(sign_in(charlie), helpdesk).status_code in (302, 403)


def test_the_cost_of_a_test_event_is_told_before(client: Client, helpdesk: Source) -> None:
    html = text_of(client.get(f"/sources/source/{helpdesk.pk}/change/"))
    assert "its model is asked and paid for, and the result goes to Inbox" in html


def test_the_page_says_why_a_source_has_no_delete_button(client: Client, helpdesk: Source) -> None:
    path = f"/sources/source/{helpdesk.pk}/change/"
    assert "Why there is no delete button: Pause the source first" in text_of(client.get(path))

    make_event(helpdesk)

    assert "It has events, which would lose their source." in text_of(client.get(path))
    assert Destination.objects.exists()


# --- Before there is anything to connect to ---------------------------------------------------


def test_the_first_pipeline_leads_on_to_the_first_source(client: Client) -> None:
    inbox = Destination.objects.create(slug="inbox", name="Inbox", kind="inbox")
    html = text_of(client.get("/pipelines/pipeline/add/"))
    assert f'<option value="{inbox.pk}" selected>' in html

    form = {
        "name": "Triage", "slug": "triage", "prompt": "Sort: {{ text }}", "output_schema": "{}",
        "max_output_tokens": 100, "on_unknown": "hold", "destination": inbox.pk,
    }  # fmt: skip
    answer = client.post("/pipelines/pipeline/add/", form)

    assert answer["Location"] == ADD
    assert "Triage" in text_of(client.get(ADD))


def test_a_later_pipeline_leads_to_the_list(client: Client, helpdesk: Source) -> None:
    version = helpdesk.pipeline.current_version
    assert version is not None
    form = {
        "name": "Second", "slug": "second", "prompt": "Sort: {{ text }}", "output_schema": "{}",
        "max_output_tokens": 100, "on_unknown": "hold", "destination": version.destination_id,
    }  # fmt: skip
    answer = client.post("/pipelines/pipeline/add/", form)
    assert answer["Location"] == "/pipelines/pipeline/"


def test_an_empty_system_leads_from_the_source_to_the_inbox_and_back(client: Client) -> None:
    assert 'href="/pipelines/pipeline/add/"' in text_of(client.get(ADD))
    html = text_of(client.get("/pipelines/pipeline/add/"))
    inbox = html.split('href="/destinations/destination/add/?kind=inbox')[1].split('"')[0]

    form = text_of(client.get("/destinations/destination/add/?kind=inbox" + unescape(inbox)))
    assert 'value="Inbox"' in form
    answer = client.post(
        "/destinations/destination/add/", {"name": "Inbox", "slug": "inbox", "kind": "inbox"}
    )

    assert answer["Location"] == "/pipelines/pipeline/add/"
    assert "Inbox" in text_of(client.get("/pipelines/pipeline/add/"))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://10.1.2.3/in", "until its network stands in EGRESS_ALLOW"),
        ("http://127.0.0.1:9/in", "until its network stands in EGRESS_ALLOW"),
        ("https://no-such-host.invalid/in", "can&#x27;t be found now"),
    ],
)
def test_a_destination_that_nothing_would_reach_is_saved_with_a_warning(
    client: Client, url: str, said: str
) -> None:
    form = {"name": "CRM", "slug": "crm", "kind": "http", "url": url, "secret": WEBHOOK_SECRET}

    html = text_of(client.post("/destinations/destination/add/", form, follow=True))

    assert said in html
    assert Destination.objects.filter(slug="crm").exists()


def test_a_private_address_that_is_allowed_needs_no_warning(
    client: Client, settings: Settings
) -> None:
    settings.EGRESS_ALLOW = ["10.0.0.0/8"]
    form = {"name": "CRM", "slug": "crm", "kind": "http", "url": "https://10.1.2.3/in"}

    html = text_of(
        client.post(
            "/destinations/destination/add/", form | {"secret": WEBHOOK_SECRET}, follow=True
        )
    )

    assert "EGRESS_ALLOW" not in html


def test_the_options_of_an_unknown_sender_are_open(client: Client, triage: Pipeline) -> None:
    custom = text_of(client.get(f"{ADD}?scheme=hmac"))
    known = text_of(client.get(f"{ADD}?scheme=github"))
    count = custom.count("collapse"), known.count("collapse")
    assert count[0] < count[1]


def test_a_sender_without_an_entry_is_given_its_own_name(client: Client, triage: Pipeline) -> None:
    html = text_of(client.get(f"{ADD}?scheme=hmac"))
    assert 'value="Custom signature"' not in html
    assert 'aria-label="Add source"' not in html  # it is what the page does already
