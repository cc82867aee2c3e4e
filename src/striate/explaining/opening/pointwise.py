"""Functions of single numbers, and sums and products of two maps: each result depends on one number of each operand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_map

from striate.explaining.opening.opened import Opened, Part
from striate.explaining.passing import Call, Operand

Words = tuple[str, str]

_KNOWN: dict[str, Words] = {
    "add": ("addition", "{0} + {1}"),
    "sub": ("subtraction", "{0} − {1}"),
    "rsub": ("subtraction", "{1} − {0}"),
    "mul": ("multiplication", "{0} · {1}"),
    "div": ("division", "{0} / {1}"),
    "neg": ("change of sign", "−{0}"),
    "abs": ("absolute value", "|{0}|"),
    "relu": ("ReLU", "{0} where {0} > 0, else 0"),
    "leaky_relu": ("leaky ReLU", "{0} where {0} > 0, else {1}·{0}"),
    "_prelu_kernel": ("parametric ReLU", "{0} where {0} > 0, else {1}·{0}"),
    "elu": ("ELU", "{0} where {0} > 0, else e^{0} − 1"),
    "gelu": ("GELU", "{0} · Φ({0})"),
    "silu": ("SiLU", "{0} / (1 + e^(−{0}))"),
    "hardtanh": ("clamping", "{0} kept between {1} and {2}"),
    "clamp": ("clamping", "{0} kept between {1} and {2}"),
    "clamp_min": ("clamping", "{0}, at least {1}"),
    "clamp_max": ("clamping", "{0}, at most {1}"),
    "maximum": ("maximum", "the larger of {0} and {1}"),
    "minimum": ("minimum", "the smaller of {0} and {1}"),
    "sigmoid": ("sigmoid", "1 / (1 + e^(−{0}))"),
    "tanh": ("hyperbolic tangent", "tanh({0})"),
    "exp": ("exponential", "e^{0}"),
    "log": ("logarithm", "ln {0}"),
    "sqrt": ("square root", "√{0}"),
    "rsqrt": ("reciprocal square root", "1 / √{0}"),
    "reciprocal": ("reciprocal", "1 / {0}"),
    "pow": ("power", "{0}^{1}"),
    "softplus": ("softplus", "ln(1 + e^{0})"),
    "hardswish": ("hard swish", "{0} · ({0} + 3 kept between 0 and 6) / 6"),
    "where": ("choice", "{1} where {0} is 1, else {2}"),
    "masked_fill": ("choice", "{2} where {1} is 1, else {0}"),
    **{
        name: ("comparison", f"1 where {{0}} {sign} {{1}}, else 0")
        for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"), ("eq", "="), ("ne", "≠"))
    },
}
_OTHERWISE: dict[str, str] = {
    "add": "{0} + {2}·{1}",
    "sub": "{0} − {2}·{1}",
    "rsub": "{1} − {2}·{0}",
    "elu": "{2}·({0} where {0} > 0, else {1}·(e^({3}·{0}) − 1))",
    "gelu": "{0} · (1 + tanh(0.797885·({0} + 0.044715·{0}³))) / 2",
    "softplus": "ln(1 + e^({1}·{0})) / {1}",
}
"""Formulas where an argument is not the one that torch takes when none is given."""
_AFFINE = frozenset(
    (
        "add",
        "sub",
        "rsub",
        "neg",
        "abs",
        "relu",
        "leaky_relu",
        "_prelu_kernel",
        "hardtanh",
        "clamp",
        "clamp_min",
        "clamp_max",
        "maximum",
        "minimum",
        "where",
        "masked_fill",
    )
)
"""Between its kinks each is a weighted sum of its operands and a constant."""


def fits(call: Call) -> bool:
    """Tell whether an operation is of this family."""
    return call.name in _KNOWN or torch.Tag.pointwise in call.func.tags


def words(call: Call) -> str:
    """Return what the operation is called."""
    return _KNOWN[call.name][0] if call.name in _KNOWN else call.name.strip("_").replace("_", " ")


def pointwise(call: Call, index: tuple[int, ...]) -> Opened:
    """Open any function of single numbers: run it again on these in float64, and take its derivatives as weights."""
    place = np.asarray([index], np.int64)
    constants: dict[str, float] = {}
    signs = _signs(call, place, constants)
    variables = [Part(o, place, np.zeros(1), o.read(place)) for o in call.tracked]
    given = {id(o): _single(o, place) for o in call.operands}

    def later(opened: Opened) -> None:
        tensors: dict[int, torch.Tensor] = {}

        def single(value: Any) -> Any:
            if not isinstance(value, Operand):
                return value
            if value.origin is not None:
                tensors[id(value)] = given[id(value)].requires_grad_()
            return given[id(value)]

        args, kwargs = tree_map(single, call.args), tree_map(single, call.kwargs)
        result = _functional(call)(*args, **kwargs)
        if result.requires_grad:  # comparisons have no derivative
            found = torch.autograd.grad(result, [tensors[id(p.operand)] for p in variables], allow_unused=True)
            for part, gradient in zip(variables, found, strict=True):
                part.weight = np.asarray([0.0 if gradient is None else float(gradient)])
        opened.total = float(result.detach())

    additive = _additive(call, len(variables))
    return Opened(_formula(call, signs), constants, variables, additive=additive, later=later)


def _single(operand: Operand, place: Any) -> torch.Tensor:
    """Return one number of an operand, in float64; of a mask as the mask has it."""
    whole = operand.tensor is not None and not operand.tensor.is_floating_point()
    kind = operand.tensor.dtype if whole and operand.tensor is not None else torch.float64
    return torch.tensor(float(operand.read(place)[0])).to(kind)


def _arguments(call: Call) -> list[tuple[str, Any, bool]]:
    """Return name and value of each argument, and whether it is another than torch takes when none is given."""
    found = []
    for place, known in enumerate(call.func._schema.arguments):
        usual = known.default_value
        value = call.argument(place, known.name, usual)
        found.append((known.name, value, usual is not None and (isinstance(value, Operand) or value != usual)))
    return found


def _formula(call: Call, signs: Sequence[str]) -> str:
    if call.name not in _KNOWN:
        return f"{words(call)}({', '.join(signs[: len(call.args)])})"
    other = call.name in _OTHERWISE and any(differs for _, _, differs in _arguments(call))
    return (_OTHERWISE[call.name] if other else _KNOWN[call.name][1]).format(*signs)


def _signs(call: Call, place: Any, constants: dict[str, float]) -> list[str]:
    """Return a sign for each argument: letters for what depends on the image and for weights, numbers for numbers."""
    letters, found = iter("xyzuv"), []
    for argument, value, _ in _arguments(call):
        if isinstance(value, Operand) and value.origin is not None:
            found.append(next(letters))
        elif isinstance(value, Operand):
            name = "abcd"[len(constants)]
            constants[name] = float(value.read(place)[0])
            found.append(name)
        elif value is None:
            found.append("−∞" if argument == "min" else "∞")
        else:
            found.append(f"{value:g}" if isinstance(value, (int, float)) else str(value))
    return found


def _functional(call: Call) -> Callable[..., torch.Tensor]:
    packet = getattr(torch.ops.aten, call.name)
    return getattr(packet, call.func._overloadname)  # type: ignore[no-any-return]


def _additive(call: Call, variables: int) -> bool:
    if call.name in ("mul", "div"):
        return variables == 1 and not (call.name == "div" and call.args[0].origin is None)
    return call.name in _AFFINE
