"""The first start."""

from __future__ import annotations

import json
import shlex
from io import StringIO

import pytest
from django.core.management import call_command

from apps.accounts.models import User
from apps.housekeeping.demo import TICKET
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from apps.sources.schemes import Request, build_verifier

pytestmark = pytest.mark.django_db


def set_up(*options: str) -> dict[str, str | None]:
    out = StringIO()
    call_command("setup_demo", *options, stdout=out)
    return dict(json.loads(out.getvalue()))


def test_the_first_start_makes_an_administrator_whose_password_works() -> None:
    answer = set_up()
    admin = User.objects.get(username="admin")
    assert admin.check_password(str(answer["admin_password"]))
    assert admin.get_role() == "admin"


def test_a_second_start_tells_no_password_and_makes_nothing_anew() -> None:
    set_up()
    Source.objects.all().delete()
    answer = set_up()
    assert answer["admin_password"] is None
    assert answer["curl"] is None
    assert User.objects.count() == 1
    assert not Source.objects.exists()


def test_without_the_demo_there_is_only_the_administrator() -> None:
    assert set_up("--no-demo")["curl"] is None
    assert User.objects.filter(username="admin").exists()
    assert not Pipeline.objects.exists()


def test_the_printed_command_is_signed_by_the_demo_source() -> None:
    words = shlex.split(str(set_up()["curl"]))
    headers = {
        name.lower().encode(): value.encode()
        for name, _, value in (word.partition(": ") for word in words if ": " in word[:40])
    }
    body = words[-1].encode()
    source = Source.objects.get(slug="demo")
    secrets = [secret.value for secret in source.get_active_secrets()]
    verifier = build_verifier(source.scheme, source.options, secrets)
    verified = verifier.verify(Request("POST", words[2], headers, body, now=0))
    assert verified.event_type == "ticket"
    assert verified.event_id
    assert json.loads(body) == TICKET


def test_each_printed_command_is_a_new_event() -> None:
    assert set_up()["curl"] != set_up()["curl"]
