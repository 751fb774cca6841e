"""Tests of what is done with results."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _quickly(quickly_compiled: None) -> None:
    pass
