"""Every code that a check can give, and every measure, has its row in the documentation."""

import re
from pathlib import Path

import pytest

from striate.data.checks.quality import HIGHER_IS_BETTER
from striate.data.checks.quality_low import CAUSES, NAMES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/concepts/checks.md").read_text(encoding="utf-8")


def codes():
    found = set()
    for path in (ROOT / "src/striate/data/checks").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r'Problem\(\s*"([a-z_]+)"', text))
        found |= {
            name
            for line in re.findall(r'Problem\(\s*("[a-z_]+" if .*?),', text)
            for name in re.findall(r'"(\w+)"', line)
        }
    return sorted(found)


@pytest.mark.parametrize("code", codes())
def test_code_is_documented(code):
    assert f"`{code}`" in PAGE


@pytest.mark.parametrize("measure", sorted(HIGHER_IS_BETTER))
def test_measure_is_documented_and_named(measure):
    assert f"| `{measure}` |" in PAGE and measure in NAMES and measure in CAUSES
