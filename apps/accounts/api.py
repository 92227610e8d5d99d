"""API tokens in the API."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.models import SCOPES, ApiToken, User
from apps.api.permissions import Needs
from apps.api.problems import Conflict
from apps.api.serializers import StrictSerializer
from apps.api.viewsets import ApiViewSet

MAX_DAYS = 3650


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    """A token as lists show it: never the token itself."""

    user = serializers.CharField(source="user.username", read_only=True)
    scopes = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = ApiToken
        fields = [
            "id",
            "name",
            "user",
            "prefix",
            "scopes",
            "created_at",
            "last_used_at",
            "expires_at",
            "revoked_at",
        ]
        read_only_fields = fields


class NewTokenSerializer(StrictSerializer):
    """What a new token needs."""

    name = serializers.CharField(max_length=100)
    user = serializers.SlugRelatedField(
        slug_field="username",
        queryset=User.objects.filter(is_active=True),
        required=False,
        help_text="Whom it acts for; yourself unless told.",
    )
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=SCOPES), min_length=1, max_length=len(SCOPES)
    )
    days = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_DAYS, help_text="Ends then; never unless told."
    )


class IssuedTokenSerializer(TokenSerializer):
    """A new token: the only answer that ever shows it."""

    token = serializers.CharField(read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]
        read_only_fields = fields


class TokenViewSet(RetrieveModelMixin, ApiViewSet):
    """Tokens of all users."""

    access: ClassVar[dict[str, Needs]] = {
        "list": Needs("all", "accounts.view_apitoken"),
        "retrieve": Needs("all", "accounts.view_apitoken"),
        "create": Needs("all", "accounts.add_apitoken"),
        "revoke": Needs("all", "accounts.change_apitoken"),
        "destroy": Needs("all", "accounts.change_apitoken"),
    }
    serializer_class = TokenSerializer
    lookup_value_regex = r"[0-9]{1,18}"
    queryset = ApiToken.objects.select_related("user")

    @extend_schema(request=NewTokenSerializer, responses={201: IssuedTokenSerializer})
    def create(self, request: Request) -> Response:
        """Make a token. Its text is in this answer and nowhere else."""
        serializer = NewTokenSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        lifetime = timedelta(days=asked["days"]) if "days" in asked else None
        with transaction.atomic():
            user = asked.get("user", request.user)
            token, text = ApiToken.issue(user, asked["name"], asked["scopes"], lifetime)
            self.record("token.create", token, user=user.username, scopes=asked["scopes"])
        token.token = text  # type: ignore[attr-defined]
        return Response(IssuedTokenSerializer(token).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=TokenSerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        """End the token now."""
        token: ApiToken = self.get_object()
        if not self._revoke(token):
            raise Conflict("The token was revoked before.")
        token.refresh_from_db(fields=["revoked_at"])
        return Response(self.get_serializer(token).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """End the token now; the row stays, so that the audit can name it."""
        self._revoke(self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _revoke(self, token: ApiToken) -> bool:
        with transaction.atomic():
            revoked = token.revoke()
            if revoked:
                self.record("token.revoke", token, user=token.user.username)
        return revoked
