"""What the words before a number, or the field it stands in, say of it: a phone, or another."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from apps.pipelines.redaction.patterns import compile_ours

_LONG = (
    "phone|telefon|téléphone|teléfono|téléfono|mobil|rufnummer|handy|whatsapp|cellul|móvil|"
    "telem[oó]vel|portable|hotline|durchwahl|puhelin|電話|携帯|电话|手机|電话|전화|телефон|звоните"
)
_SHORT = (
    "tel|tlf|ph|cell|gsm|fax|call|ring|ruf|bel|appelez|llám\\w*|llama\\w*|ligue|dial|sms|text|puh|"
    "kom|cep|тел|моб|wa\\.me|soittakaa|reach me|contact"
)
_OWNED = (
    "(?:my|her|his|our|their|contact|meine?|unsere|mon|mio|mi|mitt|min|mijn|moj)"
    " (?:number|no|nummer|numéro|numero|número|numer)"
)
_WORD = compile_ours(rf"{_LONG}|(?:^|[^\p{{L}}])(?:{_SHORT}|{_OWNED})(?:[^\p{{L}}_]|$)")
_LABEL = compile_ours(
    rf"(?:(?:{_LONG})\p{{L}}*|(?:^|[^\p{{L}}])(?:{_SHORT}|{_OWNED}))"
    r"(?:[ ._-]?(?:no|nr|number|nummer|num|n[°º]|kom))?(?: (?:is|ist|lautet|est|es|är|at|on|le))?"
    r"[ .:：=№#°\"']{0,4}$"
)
# Names of other numbers, standing right before one.
_OTHER = compile_ours(
    r"(?:order|ticket|invoice|rechnung|auftrag|customer|kunden\p{L}*|case|ref|reference|tracking|"
    r"account|konto\p{L}*|upc|ean|isbn|imei|sku|batch|item|version|build|serial|artikel|article|"
    r"room|page|pages|zip|id|nr|timestamp|score|contract)[ .:#=_-]{0,3}(?:no|nr|number|nummer)?"
    r"[ .:#=\"'-]{0,4}$"
)
_KEY = compile_ours(rf"{_LONG}|(?:^|[^\p{{L}}])(?:tel|tlf|ph|cell|gsm|fax|sms|national_number)$")
_OTHER_KEY = compile_ours(
    r"_(?:at|on|date|time|count|code|type|price|model|version|id)$|(?-i:[a-z](?:Id|At|Code|Type))$"
)
# Here stands a number as providers of messages write it: with the country's code, without a plus.
_PARTY = compile_ours(r"^(?:from|to|sender|recipient|caller|callee|wa_id|msisdn)$")


class Before(Enum):
    """What is known of a number before it is looked at."""

    LABEL = "right in front: a phone number"
    WORD = "near by: a phone number"
    OTHER = "right in front: another number"
    NOTHING = "nothing"


def read_before(key: str, words: str, *, is_first: bool) -> Before:
    """`words` lead to the number, `is_first` where it begins the text of the field `key`."""
    said = _read_words(words)
    if said is Before.NOTHING and _read_key(key):
        return Before.LABEL if is_first else Before.WORD
    return said


def is_party(key: str) -> bool:
    """Whether the field is one whose digits, all of them, are a number with its country's code."""
    return _PARTY.search(key) is not None


@lru_cache(maxsize=64)
def _read_words(words: str) -> Before:
    if _OTHER.search(words):
        return Before.OTHER
    if _LABEL.search(words):
        return Before.LABEL
    return Before.WORD if _WORD.search(words) else Before.NOTHING


@lru_cache(maxsize=64)
def _read_key(key: str) -> bool:
    return _KEY.search(key) is not None and _OTHER_KEY.search(key) is None
