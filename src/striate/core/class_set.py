"""`ClassSet`: what the outputs of a classifier mean; `Targets` is its sibling for masks."""

from __future__ import annotations

from dataclasses import dataclass

from striate.core.errors import UsageError

MOST_CLASSES = 256
"""Exclusive classes that a stored index of one byte can tell apart."""


@dataclass(frozen=True, slots=True)
class ClassSet:
    """Named classes of whole images.

    The truth of an image is the index of its class (exclusive), or a 0 or 1 for each class (not exclusive).

    Attributes
    ----------
    names
        In the order of the network's outputs.
    exclusive
        True: each image has exactly one class (softmax). False: any number of them (a sigmoid each).
    """

    names: tuple[str, ...]
    exclusive: bool = True

    def __post_init__(self) -> None:
        least = 2 if self.exclusive else 1
        if len(self.names) < least or len(set(self.names)) < len(self.names):
            raise UsageError(f"classes {', '.join(self.names) or 'none'}: at least {least} different names are needed.")
        if self.exclusive and len(self.names) > MOST_CLASSES:
            raise UsageError(f"{len(self.names)} classes: at most {MOST_CLASSES} can be learned at once.")

    @property
    def out_channels(self) -> int:
        """Outputs of a network that tells the classes apart."""
        return len(self.names)

    @property
    def truth_shape(self) -> tuple[int, ...]:
        """Shape of the truth of one image."""
        return () if self.exclusive else (len(self.names),)

    def encode(self, classes: tuple[str, ...]) -> list[int]:
        """Return the truth of an image as numbers: one index, or a 0 or 1 for each class.

        Raises
        ------
        UsageError
            When a class is unknown, or there is not exactly one where one is needed.
        """
        unknown = [c for c in classes if c not in self.names]
        if unknown:
            raise UsageError(f"class '{unknown[0]}' is none of {', '.join(self.names)}.")
        if not self.exclusive:
            return [int(name in classes) for name in self.names]
        if len(classes) != 1:
            raise UsageError(f"classes {', '.join(classes) or 'none'}: exactly one is needed.")
        return [self.names.index(classes[0])]
