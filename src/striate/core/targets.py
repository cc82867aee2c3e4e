"""`Targets`: what is learned, predicted and measured, as exclusive labels or as overlapping regions of labels.

A region is a union of label values (``tumour=1+2+3+4``). Predicted masks always hold the cohort's own label values, so
that the same regions can be measured on a prediction and on the truth. Where several label values belong to the same
regions, the smallest of them is written: it stands for the whole set. Regions that came from nnU-Net say themselves which value
is written for each (`Targets.region_values`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.counted import counted
from striate.core.errors import LabelError, UsageError, expected
from striate.core.names import did_you_mean

MOST_CLASSES = 256
"""Classes of voxels, background included, that a training patch can hold."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Named sets of label values.

    Attributes
    ----------
    sets
        Name → label values. Exclusive labels have one value each.
    exclusive
        True for labels (softmax, one class per voxel), False for regions (sigmoid, may overlap).
    region_values
        The label value that is written for each region, in order; a later region is painted over an earlier one (nnU-Net's
        ``regions_class_order``). None: the most probable combination of regions is written
        (`striate.inference.restore.decide_regions`).
    """

    sets: Mapping[str, tuple[int, ...]]
    exclusive: bool
    region_values: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        sets = {str(n): tuple(sorted({int(v) for v in values})) for n, values in self.sets.items()}
        if not sets:
            raise UsageError("no labels and no regions: at least one label value besides background is needed.")
        for name, values in sets.items():
            if not values or min(values) < 1:
                raise UsageError(f"region '{name}' = {values}: label values of 1 or more are needed (0 is background).")
        if self.region_values is not None and (self.exclusive or len(self.region_values) != len(sets)):
            raise UsageError(
                f"region_values {list(self.region_values)} for {counted(len(sets), 'target')}: one value for each region is"
                " needed."
            )
        object.__setattr__(self, "sets", MappingProxyType(sets))

    def __reduce__(self) -> tuple[object, ...]:
        """Make targets picklable for worker processes."""
        return (Targets, (dict(self.sets), self.exclusive, self.region_values))

    @classmethod
    def of_labels(cls, label_names: Mapping[int, str]) -> Targets:
        """Return exclusive targets from value → name, in rising order of value; 0 is left out."""
        return cls({label_names[v]: (v,) for v in sorted(label_names) if v != 0}, exclusive=True)

    @classmethod
    def parse(cls, texts: Sequence[str], label_names: Mapping[int, str]) -> Targets:
        """Read regions such as ``tumour=1+2+3+4`` or ``core=necrosis+enhancing``.

        Raises
        ------
        UsageError
            When a text has another form, or names a label that the cohort has not (only checked where `label_names` is
            not empty).
        """
        known = {name.casefold(): value for value, name in label_names.items() if value != 0}
        sets: dict[str, tuple[int, ...]] = {}
        for text in (part for given in texts for part in given.split()):
            match = re.fullmatch(r"([^=+\s]+)=([^=]+)", text)
            if not match or match.group(1) in sets:
                raise UsageError(
                    f"region '{text}': NAME=LABEL+LABEL is needed, each name once, for instance tumour=1+2+3."
                )
            values = []
            for part in match.group(2).split("+"):
                if part.isdecimal() and (not label_names or int(part) in label_names):
                    values.append(int(part))
                elif part.casefold() in known:
                    values.append(known[part.casefold()])
                else:
                    names = [*known, *(str(v) for v in label_names if v != 0)]
                    raise UsageError(f"region '{text}': unknown label '{part}'. {did_you_mean(part, names)}")
            sets[match.group(1)] = tuple(values)
        return cls(sets, exclusive=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the labels or regions, in order."""
        return tuple(self.sets)

    @property
    def out_channels(self) -> int:
        """Channels of a network that predicts them: labels and background, or one per region."""
        return len(self.sets) + (1 if self.exclusive else 0)

    @property
    def values(self) -> tuple[int, ...]:
        """All label values that belong to a target, rising."""
        return tuple(sorted({v for values in self.sets.values() for v in values}))

    def mask(self, labels: NDArray[Any], name: str) -> NDArray[np.bool_]:
        """Return where `labels` holds a value of the target `name`; same shape."""
        values = self.sets[name]
        if len(values) == 1:
            return np.asarray(labels == values[0])
        table = np.zeros(max(int(labels.max()), *values) + 1, dtype=bool)
        table[list(values)] = True
        return np.asarray(table[labels])

    def masks(self, labels: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Yield (name, mask) of each target, one at a time to save memory."""
        for name in self.sets:
            yield name, self.mask(labels, name)

    def memberships(self) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return which combinations of regions exist, and the label value written for each.

        Returns
        -------
        members
            (A, R) bool: combination a lies in region r. Row 0 is background (no region). Those of `region_values` come next,
            one row for each value; two of them may be in the same regions.
        values
            (A,) label value written for each combination.
        """
        members, values = [tuple(False for _ in self.sets)], [0]
        written = tuple(dict.fromkeys(self.region_values or ()))
        for index, value in enumerate((*written, *self.values)):
            row = tuple(value in values for values in self.sets.values())
            if index < len(written) or row not in members:
                members.append(row)
                values.append(value)
        return np.array(members, dtype=bool), np.array(values, dtype=np.int64)

    def classes(self, labels: NDArray[Any]) -> NDArray[np.uint8]:
        """Turn label values into class indices: exclusive → 0 (background), 1 … in order; regions → combination index.

        Values that belong to no target become background.

        Raises
        ------
        LabelError
            When there are more classes than uint8 can number.
        """
        kinds = len(self.sets) + 1 if self.exclusive else len(self.memberships()[1])
        if kinds > MOST_CLASSES:
            raise LabelError(
                expected("labels", f"{kinds} classes with background", f"at most {MOST_CLASSES} can be learned at once",
                         "Name those that matter with --regions.")
            )  # fmt: skip
        top = max(int(labels.max(initial=0)), *self.values) + 1
        table = np.zeros(top, dtype=np.uint8)
        if self.exclusive:
            for index, values in enumerate(self.sets.values(), start=1):
                table[list(values)] = index
        else:
            members, _ = self.memberships()
            rows = [tuple(row) for row in members]
            for value in self.values:
                table[value] = rows.index(tuple(value in values for values in self.sets.values()))
        return np.asarray(table[labels])
