"""No generated request makes the API fail, and every answer is one that the document allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from apps.accounts.models import ApiToken, User
from apps.events.models import Status
from apps.sources.models import Source
from tests.fixtures.cast import make_event

EXAMPLES = 5  # an operation; a run of all takes some seconds
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
NOT_FOR_GENERATED_REQUESTS = {"tokens_destroy", "tokens_revoke_create"}  # they end their own token


def get_operations() -> dict[str, Any]:
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    document = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    schema = schemathesis.openapi.from_dict(dict(document))
    schema.app = get_wsgi_application()
    operations: list[Any] = [
        result.ok()  # type: ignore[union-attr]
        for result in schema.get_all_operations()
    ]
    found = {each.definition.raw["operationId"]: each for each in operations}
    return {name: found[name] for name in sorted(found) if name not in NOT_FOR_GENERATED_REQUESTS}


OPERATIONS = get_operations()


@pytest.fixture
def kept_connection(db: None) -> Iterator[None]:
    """A server closes its database connection after a request; a test's must stay open."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.usefixtures("kept_connection")
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("mode", schemathesis.GenerationMode)
def test_a_generated_request_is_answered_as_documented(
    alice: User, helpdesk: Source, name: str, mode: schemathesis.GenerationMode
) -> None:
    _, token = ApiToken.issue(alice, "generated", ["all"])
    event = make_event(helpdesk, status=Status.DEAD)
    slug = {"pipelines": "triage", "destinations": "inbox"}.get(name.split("_")[0], "helpdesk")
    key = event.public_id if name.startswith("events") else str(helpdesk.secrets.get().pk)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=OPERATIONS[name].as_strategy(generation_mode=mode), is_known=st.booleans())
    def ask(case: Any, is_known: bool) -> None:
        if is_known and case.path_parameters:
            known = {"slug": slug, "id": key, "sample": f"smp_{key}"}
            case.path_parameters = {each: known[each] for each in case.path_parameters}
        response = case.call(headers={"Authorization": f"Bearer {token}"})
        case.validate_response(response, checks=CHECKS)

    ask()
