"""What a provider says about its limits."""

from __future__ import annotations

import pytest

from apps.llm.limit_headers import Allowance, SeenLimits, read_limit_headers


def test_openai_headers_are_read() -> None:
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert read_limit_headers(headers) == SeenLimits(
        Allowance(60, 59, 1), Allowance(150_000, 149_984, 360)
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20ms", 0.02), ("1h2m3.5s", 3723.5), ("7.66s", 7.66), ("12", 12), ("1d", 86_400)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": text}
    seen = read_limit_headers(headers)
    assert seen.tokens
    assert seen.tokens.reset_s == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1s soon", "1e999", "9" * 50, "s", "١s"])
def test_nonsense_is_no_limit(text: str) -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": text}
    assert read_limit_headers(headers).get_pause_s(1) == 0


def test_nothing_said_is_no_pause() -> None:
    assert read_limit_headers({}).get_pause_s(1000) == 0


def test_the_pause_lasts_until_enough_has_grown_back() -> None:
    seen = SeenLimits(Allowance(60, 3, 57), Allowance(1000, 100, 54))
    assert seen.get_pause_s(100) == 0
    assert seen.get_pause_s(400) == pytest.approx(18)  # 900 in 54 s
    assert seen.get_pause_s(5000) == 54  # never more than the whole


def test_what_is_asked_for_counts_too() -> None:
    assert read_limit_headers({"retry-after-ms": "1500"}).get_pause_s(1) == 1.5
