"""Base of all settings that people edit: strict, frozen, and helpful about a typo."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from striate.core.errors import PlanError
from striate.core.names import did_you_mean

LONGEST_VALUE = 80
"""Characters of a wrong value that a message shows."""


class Config(BaseModel):
    """Settings: unknown keys are refused with the nearest known name, values are checked, nothing changes later."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def parse(cls, document: object, where: object) -> Self:
        """Validate `document` (a mapping, as read from YAML or JSON).

        Raises
        ------
        PlanError
            With one line per problem: where, which key, what came, what was needed, the nearest name for a typo.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            lines = sentences(error, cls)
            joined = lines[0] if len(lines) == 1 else "".join(f"\n  {line}" for line in lines)
            raise PlanError(f"{where}: {joined}", path=where) from error

    def changed(self, **values: Any) -> Self:
        """Return a copy with `values` replaced, validated again."""
        return type(self).model_validate({**self.model_dump(), **values})


def sentences(error: ValidationError, root: type[BaseModel] = BaseModel) -> list[str]:
    """Return one sentence per problem: which key, what came, what was needed; `root` is what has the keys."""
    return [_line(root, problem) for problem in error.errors(include_url=False)]


def _line(root: type[BaseModel], problem: Any) -> str:
    path = [str(p) for p in problem["loc"]]
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(root, path[:-1])
        return f"unknown key '{key}'. {did_you_mean(path[-1], known)}"
    if problem["type"] == "missing":
        return f"key '{key}' is missing; it is needed."
    text = str(problem["msg"]).removeprefix("Value error, ")
    text = f"{text[:1].lower()}{text[1:].rstrip('.')}."
    if isinstance(problem["input"], dict) and problem["type"] == "value_error":  # several keys do not fit together
        return f"key '{key}': {text}" if key else text
    came = repr(problem["input"])
    came = came if len(came) <= LONGEST_VALUE else f"{came[:LONGEST_VALUE]}…"
    return f"key '{key}' is {came}; {text}" if key else f"it holds {came}; keys with their values are needed."


def _fields_at(root: type[BaseModel], path: list[str]) -> list[str]:
    model: type[BaseModel] = root
    for name in path:
        field = model.model_fields.get(name)
        inner = getattr(field, "annotation", None)
        options = [inner, *getattr(inner, "__args__", ())]
        found = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
        if found is None:
            return []
        model = found
    return list(model.model_fields)
