"""What rules would have made of past events, in the API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.api.serializers import StrictSerializer
from apps.ingest.rehearsal import FATES, Fate, Rehearsal
from apps.sources.rules_field import RulesField


class RehearsalRequestSerializer(StrictSerializer):
    """The rules to try; they are not saved."""

    rules = RulesField()


class FateSerializer(serializers.Serializer[Fate]):
    """An event that would not simply have been taken in."""

    event = serializers.CharField(source="event.public_id")
    what = serializers.ChoiceField(choices=FATES)
    why = serializers.CharField()


class CountsSerializer(serializers.Serializer[Any]):
    """How many would have been taken in, held, refused, ignored, or told to come later."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {name: serializers.IntegerField() for name in FATES}


class RehearsalSerializer(serializers.Serializer[Rehearsal]):
    """The newest events, and the first of those that would have fared otherwise."""

    looked_at = serializers.IntegerField()
    counts = CountsSerializer()
    events = FateSerializer(source="shown", many=True)
