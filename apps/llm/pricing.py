"""What a call costs."""

from __future__ import annotations

import json
import re
from decimal import ROUND_UP, Decimal
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.llm.provider import is_local

PER_MILLION = Decimal(1_000_000)
MICRO_USD = Decimal("0.000001")
_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}\Z")


def get_cost_usd(model: str, input_tokens: int, output_tokens: int) -> Decimal:
    """US dollars, rounded up to the millionth: a paid call never shows as free."""
    input_price, output_price = _get_prices(model)
    cost = (input_tokens * input_price + output_tokens * output_price) / PER_MILLION
    return cost.quantize(MICRO_USD, rounding=ROUND_UP)


def get_batch_share() -> Decimal:
    """What a call costs in a batch, of its list price: 0.5 is half."""
    return Decimal(str(settings.LLM_BATCH_PRICE or _read_file()["batch_share"]))


def get_batch_cost_usd(cost_usd: Decimal) -> Decimal:
    """What a call costs in a batch that costs so much by itself."""
    return (cost_usd * get_batch_share()).quantize(MICRO_USD, rounding=ROUND_UP)


def has_price(model: str) -> bool:
    """Whether the cost of a call can be told: by the table, by the settings, or as it is free."""
    named = _DATE.sub("", model) in _read_table()
    return named or any(_get_prices(model)) or is_local(settings.OPENAI_BASE_URL)


def _get_prices(model: str) -> tuple[Decimal, Decimal]:
    """US dollars per million input and output tokens; a dated name has its model's price."""
    known = _read_table().get(_DATE.sub("", model))
    fallback = (Decimal(str(settings.LLM_PRICE_INPUT)), Decimal(str(settings.LLM_PRICE_OUTPUT)))
    return known or fallback


@cache
def _read_table() -> dict[str, tuple[Decimal, Decimal]]:
    models = _read_file()["models"]
    return {name: (Decimal(row["input"]), Decimal(row["output"])) for name, row in models.items()}


@cache
def _read_file() -> Any:
    return json.loads(Path(__file__).with_name("prices.json").read_text(encoding="utf-8"))
