"""A source's rules in templates."""

from __future__ import annotations

from django import template

from apps.sources.models import Source
from apps.sources.rule_sentences import describe

register = template.Library()


@register.filter
def rule_sentences(source: Source) -> list[str]:
    """One sentence for each rule that is on."""
    return describe(source.rules)
