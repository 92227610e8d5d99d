"""Providers that people add: their key stays with its host, and their address is checked."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from apps.llm.endpoints import KeyElsewhere, ProviderMissing, get_endpoint
from apps.llm.models import Provider
from apps.llm.provider import (
    AddressRefused,
    OutcomeUnknown,
    ProviderFailed,
    ProviderUnreachable,
    complete,
    list_models,
)
from apps.llm.provider_checks import WrongProvider, choose_key, read_base_url
from apps.llm.provider_checks import test as try_out
from pipeline_admin.bootstrap.ports import free_ports
from tests.fixtures.fake_llm import FakeLLM

pytestmark = pytest.mark.django_db
KEY = "sk-backup-0123456789"
BODY = {"model": "fake", "messages": [{"role": "user", "content": "[[c1]]"}]}


def make_provider(base_url: str, key: str = KEY, slug: str = "backup") -> Provider:
    row = Provider(slug=slug, name=slug.title(), base_url=base_url)
    row.set_key(key)
    row.save()
    return row


def test_a_call_goes_to_the_provider_that_is_named(fake_llm: FakeLLM, second_llm: FakeLLM) -> None:
    make_provider(second_llm.base_url)
    complete(get_endpoint("backup"), BODY)
    assert (fake_llm.calls.total(), second_llm.calls.total()) == (0, 1)
    assert second_llm.keys == {KEY}


def test_what_the_environment_says_is_for_the_provider_of_the_settings(
    second_llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "Authorization: Bearer sk-gateway\nX-Gateway: sk-gateway"
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", secret)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-gateway")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-gateway")
    make_provider(second_llm.base_url)
    complete(get_endpoint("backup"), BODY)
    assert second_llm.keys == {KEY}
    assert "gateway" not in str(second_llm.headers)


def test_the_key_lies_encrypted_in_the_database_and_shows_in_no_text(second_llm: FakeLLM) -> None:
    make_provider(second_llm.base_url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT sealed_key FROM llm_provider")
        assert KEY not in cursor.fetchone()[0]
    assert KEY not in repr(get_endpoint("backup"))
    assert Provider.objects.get().get_key() == KEY


def test_the_key_stands_in_no_log_and_no_error(
    second_llm: FakeLLM, caplog: pytest.LogCaptureFixture
) -> None:
    make_provider(second_llm.base_url)
    second_llm.plan("c1", "500", "reset")
    caplog.set_level("DEBUG")
    for failure in (ProviderFailed, OutcomeUnknown):
        with pytest.raises(failure):
            complete(get_endpoint("backup"), BODY)
    second_llm.wants_key = "another"
    with pytest.raises(WrongProvider) as caught:
        try_out(second_llm.base_url, KEY)
    assert KEY not in caplog.text + str(caught.value)


@pytest.mark.parametrize(
    "moved", ["https://evil.example.com/v1", "http://127.0.0.1:1/v1", "https://127.0.0.1/v1"]
)
def test_a_key_is_not_sent_to_another_host_even_by_a_hand_in_the_database(
    second_llm: FakeLLM, moved: str
) -> None:
    make_provider(second_llm.base_url)
    Provider.objects.update(base_url=moved)
    assert Provider.objects.get().get_key() == ""
    with pytest.raises(KeyElsewhere):
        get_endpoint("backup")


def test_another_host_asks_for_the_key_again(second_llm: FakeLLM) -> None:
    stored = make_provider("https://api.example.com/v1")
    assert choose_key(stored, "https://API.example.com:443/v2", None) == KEY  # the same host
    with pytest.raises(WrongProvider) as caught:
        choose_key(stored, "https://api.example.org/v1", None)
    assert (caught.value.field, KEY in str(caught.value)) == ("api_key", False)
    assert choose_key(stored, "https://api.example.org/v1", "sk-new") == "sk-new"
    assert choose_key(stored, "https://api.example.org/v1", "") == ""


def test_nothing_leaves_for_a_private_address_that_is_not_allowed(
    second_llm: FakeLLM, settings: Any
) -> None:
    make_provider(second_llm.base_url)
    settings.EGRESS_ALLOW = []
    with pytest.raises(AddressRefused, match="EGRESS_ALLOW") as caught:
        complete(get_endpoint("backup"), BODY)
    assert caught.value.permanent
    assert second_llm.connections == 0


def test_a_name_that_leads_to_a_private_address_is_no_way_around(
    second_llm: FakeLLM, settings: Any
) -> None:
    make_provider(second_llm.base_url.replace("127.0.0.1", "localhost"))
    settings.EGRESS_ALLOW = []
    with pytest.raises(AddressRefused):
        complete(get_endpoint("backup"), BODY)
    assert second_llm.connections == 0


def test_the_provider_of_the_settings_may_be_anywhere(fake_llm: FakeLLM, settings: Any) -> None:
    settings.EGRESS_ALLOW = []
    complete(get_endpoint(), BODY)
    assert fake_llm.calls.total() == 1


def test_a_typed_address_is_never_asked_through_a_proxy(
    second_llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    make_provider(second_llm.base_url)
    complete(get_endpoint("backup"), BODY)
    assert second_llm.calls.total() == 1


def test_a_provider_that_is_gone_is_named(db: None) -> None:
    with pytest.raises(ProviderMissing, match="backup"):
        get_endpoint("backup")


def test_settings_is_nobodys_slug() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        make_provider("https://api.example.com/v1", slug="settings")


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("https://api.example.com", "https://api.example.com/v1"),
        (" https://api.example.com/v1/ ", "https://api.example.com/v1"),
        ("http://10.0.0.5:8000/openai", "http://10.0.0.5:8000/openai"),
    ],
)
def test_a_base_url_is_kept_in_one_form(typed: str, kept: str) -> None:
    assert read_base_url(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        *("", "api.example.com/v1", "ftp://api.example.com", "https://", "file:///etc/passwd"),
        *("https://user:pass@api.example.com/v1", "https://api.example.com/v1?key=1"),
        *("https://api.example.com/v1#x", "https://api.example.com/v 1", "https://[::1/v1"),
        "https://api.example.com:99999/v1",
    ],
)
def test_what_is_no_base_url_is_refused(typed: str) -> None:
    with pytest.raises(WrongProvider) as caught:
        read_base_url(typed)
    assert caught.value.field == "base_url"


def test_the_test_says_which_models_there_are(second_llm: FakeLLM) -> None:
    assert try_out(second_llm.base_url, KEY) == ["fake"]
    second_llm.wants_key = "another"
    with pytest.raises(WrongProvider, match="does not take this key") as caught:
        try_out(second_llm.base_url, KEY)
    assert caught.value.field == "api_key"


def test_the_test_says_what_is_wrong_with_an_address(second_llm: FakeLLM, settings: Any) -> None:
    with pytest.raises(WrongProvider, match="can't be reached"):
        try_out(f"http://127.0.0.1:{free_ports(1)[0]}/v1", KEY)
    with pytest.raises(WrongProvider, match="no list of models"):
        try_out(f"{second_llm.url}/garbage", KEY)
    settings.EGRESS_ALLOW = []
    with pytest.raises(WrongProvider, match="not public"):
        try_out(second_llm.base_url, KEY)


def test_a_provider_that_breaks_off_is_one_that_did_not_answer(second_llm: FakeLLM) -> None:
    make_provider(f"{second_llm.url}/broken")
    with pytest.raises(ProviderUnreachable, match="did not answer"):
        list_models(get_endpoint("backup"))
