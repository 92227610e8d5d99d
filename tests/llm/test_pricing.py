"""What a call costs, in US dollars."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from apps.llm.pricing import get_cost_usd

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4o-mini-2024-07-18"])
def test_a_known_model_costs_what_the_table_says(model: str) -> None:
    assert get_cost_usd(model, 1_000_000, 1_000_000) == Decimal("0.75")


def test_another_model_costs_what_the_settings_say(settings: Any) -> None:
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = 2.0, 3.0
    assert get_cost_usd("local", 500_000, 1_000_000) == Decimal(4)


def test_a_model_without_a_price_is_free() -> None:
    assert get_cost_usd("local", 1_000_000, 1_000_000) == 0


def test_a_paid_call_never_shows_as_free() -> None:
    assert get_cost_usd("gpt-4.1-nano", 1, 0) == Decimal("0.000001")
