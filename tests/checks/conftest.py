"""Fixtures of the checks' tests."""

import pytest
from heads import Maker


@pytest.fixture
def maker(tmp_path):
    """A maker of cases in a fresh folder."""
    return Maker(tmp_path)
