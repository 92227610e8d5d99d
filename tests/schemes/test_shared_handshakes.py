"""Every challenge of the shared data gets the answer that its provider wants."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.sources.schemes import Handshake, Request, SignatureRefused, Verifier, build_verifier
from apps.sources.schemes.base import ChallengeRefused
from tests.fixtures.shared_data import NEEDS_SHARED_DATA, SHARED_DATA
from tests.schemes.vectors import case_of, load_vectors

FILE = SHARED_DATA / "webhooks" / "handshakes.json"
NOW = {"front": 1680825600.0}
"""The vectors' own time, where the challenge is signed with one."""

STAND_INS = {"discord/ping_bad_signature_by_discord": "discord/other_key"}
"""For a vector that the handshakes name and the vectors lack: one that fails likewise."""

HANDSHAKES: list[dict[str, Any]] = (
    json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else []
)


def verifier_and_request(handshake: dict[str, Any]) -> tuple[Verifier, Request]:
    asked = handshake["request"]
    if "vector" in asked:
        return of_vector(STAND_INS.get(asked["vector"], asked["vector"]))
    secret = handshake["secret"]
    options = secret if isinstance(secret, dict) else {}
    secrets = [secret] if isinstance(secret, str) else []
    verifier = build_verifier(handshake["provider"], options, secrets)
    headers = {k.lower().encode(): v.encode() for k, v in asked.get("headers", {}).items()}
    url = f"https://hooks.example.com/hooks/source?{asked.get('query', '')}"
    body = asked.get("body", "").encode()
    now = NOW.get(handshake["provider"], 0.0)
    return verifier, Request(asked["method"], url, headers, body, now)


def of_vector(name: str) -> tuple[Verifier, Request]:
    vector = next(v for v in load_vectors() if f"{v['provider']}/{v['name']}" == name)
    case = case_of(vector)
    return case.verifier, case.request


def status_of(verifier: Verifier, request: Request) -> tuple[int, Handshake]:
    try:
        answer = verifier.handshake(request)
    except ChallengeRefused:
        return 403, Handshake()
    except SignatureRefused:
        return 401, Handshake()
    assert answer is not None, "not seen to be a challenge"
    return answer.status, answer


@NEEDS_SHARED_DATA
@pytest.mark.shared_data
@pytest.mark.parametrize("handshake", HANDSHAKES, ids=lambda h: f"{h['provider']}-{h['name']}")
def test_it_answers_the_challenge(handshake: dict[str, Any]) -> None:
    verifier, request = verifier_and_request(handshake)
    takes = verifier.takes_get if request.method == "GET" else verifier.takes_post_challenge
    assert takes
    status, answer = status_of(verifier, request)
    expect = handshake["expect"]
    assert status in (
        expect["status"] if isinstance(expect["status"], list) else [expect["status"]]
    )
    check_answer(answer, expect)


def check_answer(answer: Handshake, expect: dict[str, Any]) -> None:
    if "body" in expect:
        assert answer.body == expect["body"].encode()
    if "body_contains" in expect:
        assert expect["body_contains"].encode() in answer.body
    if "json" in expect:
        assert json.loads(answer.body) == expect["json"]
        assert answer.content_type == "application/json"
    if "content_type" in expect:
        assert answer.content_type.startswith(expect["content_type"])
    if "fetch" in expect:
        assert answer.visit_url is not None
        assert answer.visit_url.startswith("https://sns.us-west-2.amazonaws.com/?Action=Confirm")
    for name, value in expect.get("headers", {}).items():
        assert answer.headers[name.lower().encode()] == value.encode()


@NEEDS_SHARED_DATA
@pytest.mark.shared_data
def test_no_ordinary_event_of_the_shared_data_is_taken_for_a_challenge() -> None:
    taken = [v["id"] for v in load_vectors() if v["expect"] == "valid" and is_challenge(v)]
    assert {name.rpartition("-")[0] for name in taken} == {"aws-sns", "discord"}
    assert len(taken) == 2


def is_challenge(vector: dict[str, Any]) -> bool:
    case = case_of(vector)
    return case.verifier.handshake(case.request) is not None
