"""Checks: what is wrong with a cohort before it is learned from; one check a file, one line here.

A check is a function ``find(cohort: CohortFacts) -> Iterable[Problem]``. It decides on facts alone; what it needs to know
of the voxels is measured by `gather`, which reads each file once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from striate.data.checks import (
    affine,
    class_absent,
    class_balance,
    class_conflict,
    class_few,
    class_names,
    duplicates,
    flat,
    grids,
    labels_empty,
    labels_outside,
    labels_stray,
    labels_values,
    leakage,
    looks_alike,
    not_finite,
    quality_low,
    raters,
    saturated,
    small_images,
    spacing,
    unreadable,
    wrong_channel,
)
from striate.data.checks.facts import CohortFacts
from striate.data.checks.problem import Problem

Check = Callable[[CohortFacts], Iterable[Problem]]

CHECKS: Mapping[str, Check] = {
    "unreadable": unreadable.find,
    "grids": grids.find,
    "affine": affine.find,
    "spacing": spacing.find,
    "labels_values": labels_values.find,
    "labels_empty": labels_empty.find,
    "labels_stray": labels_stray.find,
    "labels_outside": labels_outside.find,
    "raters": raters.find,
    "class_absent": class_absent.find,
    "class_few": class_few.find,
    "class_names": class_names.find,
    "class_balance": class_balance.find,
    "class_conflict": class_conflict.find,
    "not_finite": not_finite.find,
    "flat": flat.find,
    "saturated": saturated.find,
    "wrong_channel": wrong_channel.find,
    "duplicates": duplicates.find,
    "looks_alike": looks_alike.find,
    "leakage": leakage.find,
    "quality_low": quality_low.find,
    "small_images": small_images.find,
}
