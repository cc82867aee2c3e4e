"""Counts of true against predicted classes, and the shares that are read off them.

A share of nothing (sensitivity of a class that does not occur, precision of one that was never predicted) does not
exist. For exclusive classes balanced accuracy is the mean sensitivity of the classes; for classes that may occur together it
is the mean over the classes of (sensitivity + specificity) / 2. With two classes both are the same number (Brodersen et
al., ICPR 2010).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]


def confusion(truth: NDArray[Any], predicted: NDArray[Any], classes: int) -> NDArray[np.intp]:
    """Return how many samples of each class were called what: rows truth, columns predicted, (`classes`, `classes`).

    Parameters
    ----------
    truth, predicted
        (N,) numbers of the classes.
    classes
        How many there are.
    """
    pairs = np.asarray(truth) * classes + np.asarray(predicted)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def confusion_of_each(truth: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.intp]:
    """Return one table [[true negative, false positive], [false negative, true positive]] per class: (K, 2, 2).

    Parameters
    ----------
    truth, predicted
        (N, K) whether the class is there.
    """
    truth, predicted = np.asarray(truth, dtype=bool), np.asarray(predicted, dtype=bool)
    cells = [[~truth & ~predicted, ~truth & predicted], [truth & ~predicted, truth & predicted]]
    return np.stack([np.stack([c.sum(axis=0) for c in row], axis=-1) for row in cells], axis=1)


def counts_per_subject(
    truth: NDArray[Any], predicted: NDArray[Any], owner: NDArray[np.intp], subjects: int
) -> dict[str, Counts]:
    """Return the counts that `shares` needs, per subject.

    Parameters
    ----------
    truth, predicted
        (N, K) whether the class is there.
    owner
        (N,) number of each sample's subject.
    subjects
        How many there are.

    Returns
    -------
    dict
        ``right`` (both), ``true``, ``predicted``: (subjects, K); ``samples``: (subjects, 1).
    """
    truth, predicted = np.asarray(truth, dtype=bool), np.asarray(predicted, dtype=bool)

    def per_subject(hot: NDArray[Any]) -> Counts:
        columns = [np.bincount(owner, weights=column, minlength=subjects) for column in hot.T]
        return np.stack(columns, axis=1)

    tables = {"right": truth & predicted, "true": truth, "predicted": predicted}
    found = {name: per_subject(table) for name, table in tables.items()}
    return {**found, "samples": np.bincount(owner, minlength=subjects).astype(np.float64)[:, None]}


def shares(counts: dict[str, Counts]) -> dict[str, NDArray[np.float64]]:
    """Return the shares per class, NaN where one does not exist.

    Parameters
    ----------
    counts
        As `counts_per_subject` returns them, summed over (weighted) subjects: (…, K) and (…, 1).

    Returns
    -------
    dict
        ``prevalence``, ``sensitivity``, ``specificity``, ``precision``, ``f1``: (…, K).
    """
    right, true, predicted, samples = (counts[n] for n in ("right", "true", "predicted", "samples"))
    return {
        "prevalence": divided(true, samples),
        "sensitivity": divided(right, true),
        "specificity": divided(samples - true - predicted + right, samples - true),
        "precision": divided(right, predicted),
        "f1": divided(2 * right, true + predicted),
    }


def balanced_accuracy(found: dict[str, NDArray[np.float64]], *, exclusive: bool) -> NDArray[np.float64]:
    """Return balanced accuracy from `shares`: (…, K) → (…,); NaN where one of its shares does not exist."""
    sensitivity = found["sensitivity"]
    each = sensitivity if exclusive else (sensitivity + found["specificity"]) / 2
    return np.asarray(each.mean(axis=-1))


def divided(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return part / whole, NaN where the whole is nothing."""
    part, whole = np.broadcast_arrays(part, whole)
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))
