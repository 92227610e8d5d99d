"""The OpenAPI document is valid, complete and readable as a page that needs nothing but itself."""

from __future__ import annotations

import json
import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from apps.api.router import NOUNS


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """As the command makes it: it fails on any warning and where the document is not valid."""
    out = StringIO()
    call_command("spectacular", validate=True, fail_on_warn=True, format="openapi-json", stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def test_it_is_openapi_3_1_without_a_warning(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")


def test_it_names_every_noun(document: dict[str, Any]) -> None:
    assert {path.split("/")[3] for path in document["paths"]} == set(NOUNS)


def test_every_operation_asks_for_a_token_and_may_answer_with_a_problem(
    document: dict[str, Any],
) -> None:
    for operations in document["paths"].values():
        for operation in operations.values():
            assert {"token": []} in operation["security"]
            assert "application/problem+json" in operation["responses"]["default"]["content"]


def test_no_answer_in_it_has_a_field_for_a_secret(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert "value" not in schemas["Secret"]["properties"]
    assert "secrets" not in schemas["Source"]["properties"]
    assert "secret" not in schemas["Destination"]["properties"]
    assert "token" not in schemas["Token"]["properties"]


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
def test_everybody_may_read_it(accept: str) -> None:
    answer = APIClient().get("/api/v1/openapi.json", HTTP_ACCEPT=accept)
    assert answer.status_code == 200
    assert answer.json()["info"]["title"] == "Pipeline Admin"


def test_the_page_shows_every_operation(document: dict[str, Any]) -> None:
    page = APIClient().get("/api/docs/").content.decode()
    for path, operations in document["paths"].items():
        assert path in page
        for operation in operations.values():
            assert f'id="{operation["operationId"]}"' in page


def test_the_page_needs_no_script_and_nobody_elses_server() -> None:
    page = APIClient().get("/api/docs/").content.decode()
    assert "<script" not in page
    assert "style=" not in page
    loaded = re.findall(r"""<link[^>]+href="([^"]+)\"""", page)
    assert loaded
    assert all(address.startswith("/static/") for address in loaded)
