"""Every vector of the shared data is judged as its authors say."""

from __future__ import annotations

import pytest

from apps.sources.schemes import SignatureRefused
from tests.fixtures.shared_data import NEEDS_SHARED_DATA
from tests.schemes.vectors import Case, Vector, case_of, load_vectors

VECTORS = load_vectors()


@NEEDS_SHARED_DATA
@pytest.mark.shared_data
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['id']}-{vector['name']}")
def test_it_judges_the_vector_as_its_provider_does(vector: Vector) -> None:
    case = case_of(vector)
    assert verdict(case) == vector["expect"], vector["reason"]


def verdict(case: Case) -> str:
    try:
        case.verifier.verify(case.request)
    except SignatureRefused:
        return "invalid"
    return "valid"
