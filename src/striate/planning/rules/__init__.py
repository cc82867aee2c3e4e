"""One decision per file: facts → value and reason. Where nnU-Net's rules are right they are followed and named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Decision(Generic[T]):
    """A decision and why it was taken; the reason is one line for people."""

    value: T
    reason: str
