"""What a call costs."""

from __future__ import annotations

import json
import re
from decimal import ROUND_UP, Decimal
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.llm.provider_models import Provider, find_model, is_local

PER_MILLION = Decimal(1_000_000)
MICRO_USD = Decimal("0.000001")
_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}\Z")


Prices = tuple[Decimal, Decimal]  # US dollars per million input and output tokens


def get_cost_usd(model: str, input_tokens: int, output_tokens: int, provider: str = "") -> Decimal:
    """US dollars, rounded up to the millionth: a paid call never shows as free."""
    input_price, output_price = find_prices(model, provider) or (Decimal(0), Decimal(0))
    cost = (input_tokens * input_price + output_tokens * output_price) / PER_MILLION
    return cost.quantize(MICRO_USD, rounding=ROUND_UP)


def get_batch_share() -> Decimal:
    """What a call costs in a batch, of its list price: 0.5 is half."""
    return Decimal(str(settings.LLM_BATCH_PRICE or _read_file()["batch_share"]))


def get_batch_cost_usd(cost_usd: Decimal) -> Decimal:
    """What a call costs in a batch that costs so much by itself."""
    return (cost_usd * get_batch_share()).quantize(MICRO_USD, rounding=ROUND_UP)


def has_price(model: str, provider: str = "") -> bool:
    """Whether the cost of a call can be told: somebody has said it, or it is free."""
    return find_prices(model, provider) is not None or is_local(_get_base_url(provider))


def find_prices(model: str, provider: str = "") -> Prices | None:
    """What the model's row says, else the default; None where nobody has said it."""
    row = find_model(provider, model)
    if row is not None and row.prices is not None:
        return row.prices
    return get_default_prices(model, provider)


def get_default_prices(model: str, provider: str = "") -> Prices | None:
    """Of the table, where a dated name has its model's price; else of the settings, for theirs."""
    if known := _read_table().get(_DATE.sub("", model)):
        return known
    general = (Decimal(str(settings.LLM_PRICE_INPUT)), Decimal(str(settings.LLM_PRICE_OUTPUT)))
    return general if any(general) and not provider else None


def _get_base_url(provider: str) -> str:
    if not provider:
        return str(settings.OPENAI_BASE_URL)
    found = Provider.objects.filter(slug=provider).values_list("base_url", flat=True).first()
    return found or ""


@cache
def _read_table() -> dict[str, Prices]:
    models = _read_file()["models"]
    return {name: (Decimal(row["input"]), Decimal(row["output"])) for name, row in models.items()}


@cache
def _read_file() -> Any:
    return json.loads(Path(__file__).with_name("prices.json").read_text(encoding="utf-8"))
