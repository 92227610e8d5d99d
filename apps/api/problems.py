"""Every error under /api/ is one shape: application/problem+json (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import ProtectedError, RestrictedError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views import defaults
from rest_framework import exceptions, status
from rest_framework.exceptions import APIException
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import set_rollback

MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    429: "Too many requests",
    500: "Server error",
}


class Conflict(APIException):
    """The state of the object does not allow this; `detail` says why."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = "The state of the object does not allow this."
    default_code = "conflict"


class TooLarge(APIException):
    """The request body is larger than the API reads."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The request body is too large."
    default_code = "too_large"


def problem_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """The problem document of an error that a view raised; None for a bug, which goes on."""
    known = _translate(error)
    if known is None:
        return None
    set_rollback()
    response = Response(_get_document(known), status=known.status_code, content_type=MEDIA_TYPE)
    if isinstance(known, exceptions.AuthenticationFailed | exceptions.NotAuthenticated):
        response["WWW-Authenticate"] = getattr(known, "auth_header", "Bearer")
    wait_s = getattr(known, "wait", None)
    if wait_s is not None:
        response["Retry-After"] = str(max(1, round(wait_s)))
    return response


def _translate(error: Exception) -> APIException | None:
    if isinstance(error, APIException):
        return error
    if isinstance(error, Http404):
        return exceptions.NotFound()
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(error, ProtectedError | RestrictedError):
        return Conflict("Other objects still refer to it, so it can't be deleted.")
    return None


def _get_document(error: APIException) -> dict[str, Any]:
    """{"type", "title", "status", "detail", "code"}, and "errors" {field: [sentence]} for a 400."""
    document = _make(error.status_code)
    if isinstance(error, exceptions.ValidationError):
        errors = get_field_errors(error.detail)
        first_field, sentences = next(iter(errors.items()))
        document["detail"] = f"{first_field}: {sentences[0]}"
        return document | {"code": "invalid", "errors": errors}
    codes = error.get_codes()
    return document | {
        "detail": str(error.detail),
        "code": codes if isinstance(codes, str) else error.default_code,
    }


def _make(status_code: int) -> dict[str, Any]:
    title = TITLES.get(status_code, "Error")
    return {"type": "about:blank", "title": title, "status": status_code}


def get_field_errors(detail: Any, path: str = "") -> dict[str, list[str]]:
    """Nested errors as one flat {"field.sub": [sentence, …]}; `body` where no field is meant."""
    if isinstance(detail, Mapping):
        flat: dict[str, list[str]] = {}
        for name, inner in detail.items():
            if name == api_settings.NON_FIELD_ERRORS_KEY:
                flat |= get_field_errors(inner, path)
            else:
                flat |= get_field_errors(inner, f"{path}.{name}" if path else str(name))
        return flat
    if isinstance(detail, list) and any(isinstance(each, Mapping | list) for each in detail):
        return get_field_errors(dict(enumerate(detail)), path)
    sentences = detail if isinstance(detail, list) else [detail]
    return {path or "body": [str(each) for each in sentences]}


def is_api_request(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """`handler500` of the site: a bug says nothing of itself, its trace is in the log."""
    if not is_api_request(request):
        return defaults.server_error(request)
    detail = "Something went wrong on our side; it has been logged."
    return _plain(500, detail, "server_error")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler400` of the site, for requests that Django refuses before any view."""
    if not is_api_request(request):
        return defaults.bad_request(request, exception)
    return _plain(400, "The request can't be read.", "bad_request")


def _plain(status_code: int, detail: str, code: str) -> JsonResponse:
    document = _make(status_code) | {"detail": detail, "code": code}
    return JsonResponse(document, status=status_code, content_type=MEDIA_TYPE)
