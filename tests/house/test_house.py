"""The rules of the house that a machine can check: sizes, errors with values, exports, no prints, light imports."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import striate
from striate.core import errors

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "striate").rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT / "src").as_posix())
def test_files_are_small_and_say_what_they_are(path: Path) -> None:
    tree = TREES[path]
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 500, f"{lines} lines: two rooms?"
    assert ast.get_docstring(tree) or lines <= 1, "a module says what it holds"
    for function in functions(tree):
        assert (function.end_lineno or 0) - function.lineno < 80, f"{function.name} is longer than 80 lines"


def test_no_asserts_prints_or_environment_in_the_package() -> None:
    found = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assert):
                found.append(f"{path.name}:{node.lineno} assert")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                found.append(f"{path.name}:{node.lineno} print")
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"):
                found.append(f"{path.name}:{node.lineno} environment")
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                found.append(f"{path.name}:{node.lineno} bare except")
    assert found == []


def test_nine_of_ten_raises_carry_the_received_value() -> None:
    """Counted over errors of our own tree that are raised with a message."""
    names = {n for n, e in vars(errors).items() if isinstance(e, type) and issubclass(e, errors.StriateError)}
    total, without = 0, []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
                continue
            name = getattr(node.exc.func, "id", "")
            if name not in names or not node.exc.args:
                continue
            total += 1
            parts = list(ast.walk(node.exc.args[0]))
            if not any(
                isinstance(p, (ast.FormattedValue, ast.Name)) and getattr(p, "id", "") != "expected" for p in parts
            ):
                without.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert total > 50
    assert len(without) <= 0.1 * total, without


def test_the_error_tree_in_the_docstring_is_the_tree() -> None:
    drawn = {line.split("── ")[1].split()[0] for line in (errors.__doc__ or "").splitlines() if "──" in line}
    real = {n for n, e in vars(errors).items() if isinstance(e, type) and issubclass(e, errors.StriateError)}
    assert drawn == real - {"StriateError"}


def test_every_public_name_loads_and_is_documented() -> None:
    assert striate.__all__ == ["__version__", *sorted(set(striate.__all__) - {"__version__"})]
    reference = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    for name in striate.__all__:
        assert getattr(striate, name).__doc__ or name == "__version__"
        assert f"`{name}" in reference, f"{name} is missing in docs/reference/python.md"


def test_the_reference_shows_the_signatures_of_all_verbs() -> None:
    """Names, order and defaults of all arguments but `progress`, and the options of `plan` and `train`."""
    from types import FunctionType

    from striate.workflows.options import Options

    reference = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)(\(.*?\))` \|", reference.partition("## Nouns")[0], re.MULTILINE))
    verbs = {n: getattr(striate, n) for n in striate.__all__ if not n.startswith(("read_", "write_"))}
    verbs = {name: verb for name, verb in verbs.items() if isinstance(verb, FunctionType)}
    assert set(rows) == set(verbs)
    for name, row in rows.items():
        shown: dict[str, object] = {}
        exec(f"def shown{row}: ...", {}, shown)
        given = _arguments(verbs[name])
        assert ("progress" in {n for n, *_ in given}) == (name != "report"), name
        assert _arguments(shown["shown"]) == [one for one in given if one[0] != "progress"], name
    told = re.search(r"^`options` of `plan` and `train`: (.*?) \(", reference, re.MULTILINE | re.DOTALL)
    assert told is not None and re.findall(r"`(\w+)`", told[1]) == list(Options.__annotations__)


def _arguments(function: Any) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def test_version_is_the_packages() -> None:
    assert metadata.version("striate") == striate.__version__


@pytest.mark.parametrize(
    "module", ["striate", "striate.cli.main", "striate.reporting.render", "striate.measure.evaluation"]
)
def test_light_modules_bring_no_torch(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'monai', 'torchvision') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_torchvision_is_not_installed() -> None:
    with pytest.raises(metadata.PackageNotFoundError, match="torchvision"):
        metadata.version("torchvision")


def test_every_command_named_in_a_message_exists() -> None:
    from striate.cli.main import VERBS

    for path in SOURCES:
        for verb in re.findall(r"striate ([a-z]+) [A-Z{]", path.read_text(encoding="utf-8")):
            assert verb in VERBS, f"{path.name} names 'striate {verb}'"


def test_no_file_is_called_utils() -> None:
    assert [p for p in SOURCES if p.stem in ("utils", "util", "helpers", "misc", "common")] == []


def test_no_two_test_files_share_a_name() -> None:
    """pytest imports them by name: of two, one cannot be run beside the other."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
