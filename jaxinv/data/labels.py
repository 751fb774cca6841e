"""Labels: whole numbers from 0, and how many classes they make. Gaps among them are logged."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxinv.data.doubts import doubt
from jaxinv.data.grey_values import as_array
from jaxinv.errors import InputError

_MOST_CLASSES_GUESSED = 100_000  # a larger label is more likely an identifier than a class
_MOST_LISTED = 5


def class_labels(
    labels: Mapping[str, Any], counts: Mapping[str, int], classes: Any = 0, renumber: bool | None = None
) -> tuple[list[np.ndarray], int]:
    """The labels of both splits as int32 [N], and the number of classes.

    Args:
      labels: the splits, by field.
      counts: how many images each has.
      classes: their number; 0: the largest label plus one.
      renumber: True: replace the labels that occur by 0, 1, … in their order. False: keep them. None: keep them, and
        log it where some below the largest do not occur.
    """
    if renumber not in (None, True, False):
        raise InputError(f"renumber: {renumber!r} is not allowed; give True, False or None")
    arrays = {field: _labels(field, value, counts[field]) for field, value in labels.items()}
    if renumber:
        together = np.concatenate([array.astype(np.int64) for array in arrays.values()])
        occurring, ranks = np.unique(together, return_inverse=True)
        largest = len(occurring) - 1
        arrays = dict(zip(arrays, np.split(ranks.ravel(), [next(iter(counts.values()))]), strict=True))
    else:
        for field, array in arrays.items():
            if array.min() < 0:
                raise InputError(
                    f"{field}: label {array.min()} is not allowed; give 0 or more, or renumber=True for other numbers"
                )
        largest = int(max(array.max() for array in arrays.values()))
    number = _classes(classes, largest)
    for field, array in arrays.items():
        if array.max() >= number:
            raise InputError(f"{field}: label {array.max()} is not allowed; give 0 to {number - 1}")
    arrays = {field: array.astype(np.int32, copy=False) for field, array in arrays.items()}
    if renumber is None and not classes:
        _ask_about_gaps(arrays, number)
    return list(arrays.values()), number


def _ask_about_gaps(arrays: Mapping[str, np.ndarray], classes: int) -> None:
    """Log how labels are read of which some do not occur."""
    occurs = sum(np.bincount(array, minlength=classes) for array in arrays.values())
    absent = np.flatnonzero(occurs == 0)
    if len(absent):
        listed = ", ".join(map(str, absent[:_MOST_LISTED])) + (", …" if len(absent) > _MOST_LISTED else "")
        doubt(
            "%s: no image has label %s, and the labels are kept, which makes %d classes; give classes=%d if that is "
            "meant, renumber=True to number the %d labels that occur from 0",
            *(" and ".join(arrays), listed, classes, classes, classes - len(absent)),
        )


def _labels(field: str, value: Any, count: int) -> np.ndarray:
    array = as_array(field, value)
    if array.ndim != 1:
        raise InputError(f"{field}: shape {array.shape} is not allowed; give [N], one whole number for each image")
    if len(array) != count:
        raise InputError(f"{field}: {len(array):,} labels are not allowed; give {count:,}, one for each image")
    if array.dtype.kind not in "ui":
        raise InputError(f"{field}: dtype {array.dtype} is not allowed; give integers")
    return array


def _classes(classes: Any, largest: int) -> int:
    if isinstance(classes, bool) or not isinstance(classes, (int, np.integer)) or classes < 0 or classes > 2**31 - 1:
        raise InputError(f"classes: {classes!r} is not allowed; give a whole number from 2, or 0 to count the labels")
    if classes == 0:
        if largest >= _MOST_CLASSES_GUESSED:
            raise InputError(
                f"classes: label {largest} would make {largest + 1:,} classes; give classes if it is meant, or "
                "renumber=True"
            )
        classes = largest + 1
    if classes < 2:
        raise InputError(f"classes: {classes} is not allowed; give at least 2, or there is nothing to tell apart")
    return int(classes)
