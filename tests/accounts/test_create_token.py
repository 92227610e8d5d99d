"""`create_token` prints a token that works, and nothing else."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from apps.accounts.models import ApiToken, User
from apps.audit.models import AuditEntry


def create_token(*arguments: str) -> str:
    out = StringIO()
    call_command("create_token", *arguments, stdout=out)
    return out.getvalue()


def test_it_prints_the_token_and_nothing_else(alice: User) -> None:
    printed = create_token("--user", "alice", "--scope", "all")
    token = ApiToken.find(printed.strip())
    assert printed == printed.strip() + "\n"
    assert token is not None
    assert token.user == alice
    assert token.scopes == ["all"]


def test_it_takes_several_scopes_a_name_and_an_end(alice: User) -> None:
    words = ["--user", "alice", "--scope", "events:read", "--scope", "events:write", "--days", "7"]
    token = ApiToken.find(create_token(*words, "--name", "nightly report").strip())
    assert token is not None
    assert token.scopes == ["events:read", "events:write"]
    assert token.name == "nightly report"
    assert token.expires_at is not None
    assert (token.expires_at - token.created_at).days in (6, 7)


def test_the_audit_notes_it_without_the_token(alice: User) -> None:
    printed = create_token("--user", "alice", "--scope", "all").strip()
    entry = AuditEntry.objects.get()
    assert (entry.actor_name, entry.action) == ("system", "token.create")
    assert printed not in str(entry.details)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--user nobody --scope all", "There is no user “nobody”."),
        ("--user alice --scope everything", "There is no scope “everything”"),
        ("--user alice --scope all --days 0", "--days takes a whole number"),
    ],
)
def test_a_wrong_word_is_named_and_no_token_is_made(alice: User, words: str, sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        create_token(*words.split())
    assert not ApiToken.objects.exists()


def test_a_user_who_is_switched_off_gets_no_token(alice: User) -> None:
    alice.is_active = False
    alice.save()
    with pytest.raises(CommandError, match="switched off"):
        create_token("--user", "alice", "--scope", "all")
