"""National ids: each country's form and check digits; where those prove little, a word as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import re2

from apps.pipelines.redaction.kinds import NATIONAL_ID
from apps.pipelines.redaction.patterns import compile_ours, get_options
from apps.pipelines.redaction.spans import Span, Text


@dataclass(frozen=True)
class Rule:
    """`module` checks the digits (of stdnum; none: the form is all there is).

    `word` must stand near by, unless it is empty: the form and its check digits are enough.
    """

    country: str
    module: str
    pattern: str
    word: str = ""


_S = r"[ \x{A0}]?"
_NINO = rf"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?:{_S}\d{{2}}){{3}}{_S}[A-D]"
_NIR = rf"[12]{_S}\d{{2}}{_S}\d{{2}}{_S}(?:\d{{2}}|2[AB])(?:{_S}\d{{3}}){{2}}{_S}\d{{2}}"
_FISCALE = r"[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]"
RULES = (
    Rule("US", "us.ssn", r"\d{3}-\d{2}-\d{4}"),
    Rule("US", "us.ssn", r"\d{3} ?\d{2} ?\d{4}", r"\bssn|social.?sec"),
    Rule("GB", "", _NINO),
    Rule("GB", "gb.nhs", r"\d{3}[ -]?\d{3}[ -]?\d{4}", r"\bnhs\b"),
    Rule("DE", "de.idnr", r"\d{2} \d{3} \d{3} \d{3}"),
    Rule("DE", "de.idnr", r"\d{11}", r"steuer|tax|\bidnr|\btin\b"),
    Rule("FR", "fr.nir", _NIR),
    Rule("ES", "es.dni", r"\d{8}[ -]?[A-Z]"),
    Rule("ES", "es.nie", r"[XYZ][ -]?\d{7}[ -]?[A-Z]"),
    Rule("IT", "it.codicefiscale", _FISCALE),
    Rule("NL", "nl.bsn", r"\d{4}\.?\d{2}\.?\d{3}", r"\bbsn\b|burgerservice|sofi"),
    Rule("BE", "be.nn", r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}"),
    Rule("BE", "be.nn", r"\d{11}", r"rijksregister|registre|\bniss\b|\binsz\b|national"),
    Rule("PL", "pl.pesel", r"\d{11}", r"pesel"),
    Rule("SE", "se.personnummer", r"(?:\d{2})?\d{6}[-+]\d{4}"),
    Rule("SE", "se.personnummer", r"(?:\d{2})?\d{10}", r"person.?n"),
    Rule("NO", "no.fodselsnummer", r"\d{6} ?\d{5}"),
    Rule("DK", "dk.cpr", r"\d{6}-?\d{4}", r"\bcpr\b|personn"),
    Rule("FI", "fi.hetu", r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]"),
    Rule("CH", "ch.ssn", r"756\.?\d{4}\.?\d{4}\.?\d{2}"),
    Rule("AT", "at.vnr", r"\d{4} ?\d{6}", r"\bsv|sozialvers|versicherungsn"),
    Rule("IE", "ie.pps", r"\d{7}[A-W][A-IW]?", r"\bpps"),
    Rule("CZ", "cz.rc", r"\d{6}/\d{3,4}"),
    Rule("RO", "ro.cnp", r"\d{13}"),
    Rule("BG", "bg.egn", r"\d{10}", r"\begn\b|егн"),
    Rule("BR", "br.cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}"),
    Rule("BR", "br.cpf", r"\d{11}", r"\bcpf\b"),
    Rule("IN", "in_.aadhaar", r"[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}", r"aadha+r|\buid\b"),
    Rule("IN", "in_.pan", r"[A-Z]{3}[ABCFGHLJPTK][A-Z]\d{4}[A-Z]", r"\bpan\b|income.?tax"),
    Rule("MX", "mx.curp", r"[A-Z]{4}\d{6}[A-Z]{6}[0-9A-Z]\d"),
    Rule("CN", "cn.ric", r"\d{17}[0-9X]"),
    Rule("KR", "kr.rrn", r"\d{6}-\d{7}"),
    Rule("TR", "tr.tckimlik", r"[1-9]\d{10}", r"kimlik|\btc\b|\btckn\b"),
    Rule("ZA", "za.idnr", r"\d{6} ?\d{4} ?\d{3}"),
    Rule("AU", "au.tfn", r"\d{3} ?\d{3} ?\d{2,3}", r"\btfn\b|tax.?file"),
    Rule("CA", "ca.sin", r"\d{3}[ -]?\d{3}[ -]?\d{3}", r"\bsin\b|social.?insurance|\bnas\b"),
    Rule("CL", "cl.rut", r"\d{1,2}\.\d{3}\.\d{3}-[0-9K]"),
    Rule("PT", "pt.nif", r"\d{3} ?\d{3} ?\d{3}", r"\bnif\b|contribuinte"),
    Rule("GR", "gr.amka", r"\d{11}", r"amka|αμκα"),
    Rule("HR", "hr.oib", r"\d{11}", r"\boib\b"),
    Rule("IL", "il.idnr", r"\d{8}-?\d", r"teudat|zehut|israeli? id|ת\.?ז"),
    Rule("EE", "ee.ik", r"\d{11}", r"isikukood|personal"),
    Rule("LT", "lt.asmens", r"\d{11}", r"asmens|personal"),
)  # fmt: skip

Check = Callable[[str], bool]


class IdFinder:
    """Looks for the ids of some countries."""

    def __init__(self, countries: tuple[str, ...]) -> None:
        self._countries = frozenset(countries)

    def find(self, text: Text) -> Iterator[Span]:
        """All that are found; they may overlap."""
        if sum(char.isdecimal() for char in text.text) < 4:
            return
        for index in _get_all().Match(text.text) or ():
            rule = RULES[index]
            if rule.country in self._countries:
                yield from _find_rule(rule, text)


def _find_rule(rule: Rule, text: Text) -> Iterator[Span]:
    check = _get_check(rule.module)
    for match in _compile(_alone(rule.pattern)).finditer(text.text):
        start, end = match.span()
        if not text.begins_alone(start, _GLUE) or not text.ends_alone(end, "_"):
            continue
        if _continues(text.text, start, end) or not check(match.group().replace(" ", "")):
            continue
        # A word may stand near an address, too, and digits in that are rows of some table.
        if rule.word and text.text[start - 1 : start] == "/":
            continue
        if not rule.word or _compile(rule.word).search(text.around(start, end)):
            yield Span(start, end, NATIONAL_ID)


_GLUE = "#$€£_%"


def _continues(text: str, start: int, end: int) -> bool:
    """Whether digits go on behind a dash, a dot or a slash: then it is a piece of a longer code."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    return (len(before) == 2 and before[0].isdecimal() and before[1] in "-./") or (
        len(after) == 2 and after[0] in "-./" and after[1].isdecimal()
    )


@cache
def _get_all() -> Any:
    """Every rule's pattern at once: one look says which are worth a second."""
    options = get_options(ignore_case=True)
    options.max_mem = 64 << 20  # bytes; a set without memory says "nothing found"
    patterns = re2.Set.SearchSet(options)
    for rule in RULES:
        patterns.Add(_alone(rule.pattern))
    patterns.Compile()
    return patterns


def _alone(pattern: str) -> str:
    return rf"\b(?:{pattern})\b"


@cache
def _compile(pattern: str) -> Any:
    return compile_ours(pattern)


@cache
def _get_check(module: str) -> Check:
    if not module:
        return bool
    check: Check = import_module(f"stdnum.{module}").is_valid
    return check
