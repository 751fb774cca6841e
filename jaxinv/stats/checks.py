"""What every statistic asks of its arguments, refused in one line when it is not so."""

import math
from typing import Any

import numpy as np

from jaxinv.errors import InputError
from jaxinv.utils.text import listed

Figure = Any
"""A figure of a sample: a float for a vector of trials, an array [...] when trials lie along one axis of many."""


def trials_last(field: str, values: Any, axis: int = -1) -> np.ndarray:
    """The values as a float64 array [..., T] with the trial axis moved last."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{field}: values of type {array.dtype} are not allowed; give numbers")
    if array.ndim == 0:
        raise InputError(f"{field}: one number is not allowed; give an array of trials")
    if not -array.ndim <= axis < array.ndim:
        raise InputError(f"axis: {axis} is not allowed; give an axis of {field}, whose shape is {array.shape}")
    return np.moveaxis(array, axis, -1).astype(np.float64)


def finite(field: str, array: np.ndarray) -> np.ndarray:
    """The same array, once it is known to be finite: a test has no answer for a trial without a value."""
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise InputError(
            f"{field}: {bad} of {array.size} values are not finite; give the other trials, and say how many"
        )
    return array


def sample(field: str, values: Any, axis: int = -1) -> np.ndarray:
    """Finite float64 values [..., T], trial axis last."""
    return finite(field, trials_last(field, values, axis))


def vector(field: str, values: Any) -> np.ndarray:
    """Finite float64 values [T]."""
    array = sample(field, values)
    if array.ndim != 1:
        raise InputError(f"{field}: shape {array.shape} is not allowed; give one value a trial, shape (T,)")
    return array


def pairs(a: Any, b: Any, axis: int = -1) -> tuple[np.ndarray, np.ndarray]:
    """Two finite samples [..., T] of the same trials, trial axis last."""
    first, second = sample("a", a, axis), sample("b", b, axis)
    if first.shape != second.shape:
        raise InputError(f"b: shape {np.shape(b)} is not allowed; give the same trials as in a, shape {np.shape(a)}")
    return first, second


def differences(a: Any, b: Any) -> np.ndarray:
    """The differences a - b, float64 [T], of the same trials."""
    first, second = pairs(a, b)
    if first.ndim != 1:
        raise InputError(f"a: shape {first.shape} is not allowed; give one value a trial, shape (T,)")
    return first - second


def probability(field: str, value: float) -> float:
    """A number strictly between 0 and 1."""
    if not (isinstance(value, int | float | np.number) and 0 < value < 1):
        raise InputError(f"{field}: {value!r} is not allowed; give a number strictly between 0 and 1")
    return float(value)


def positive(field: str, value: float) -> float:
    """A finite number above 0."""
    if not (isinstance(value, int | float | np.number) and math.isfinite(value) and value > 0):
        raise InputError(f"{field}: {value!r} is not allowed; give a finite number above 0")
    return float(value)


def step(value: float) -> float:
    """The step in which values move, 0 where they have none."""
    if not (isinstance(value, int | float | np.number) and math.isfinite(value) and value >= 0):
        raise InputError(f"grain: {value!r} is not allowed; give a step of at least 0")
    return float(value)


def choice(field: str, value: str, allowed: tuple[str, ...]) -> str:
    """One of a few words."""
    if value not in allowed:
        raise InputError(f"{field}: {value!r} is not allowed; give {listed([*map(repr, allowed)], 'or')}")
    return value


def figure(array: np.ndarray | np.generic | float) -> Figure:
    """A float where there is one value, the array where there are many."""
    return float(array) if np.ndim(array) == 0 else np.asarray(array)


def constant(array: np.ndarray) -> np.ndarray:
    """Whether the trials [..., T] differ by no more than rounding: spread below 10 ulp of their mean."""
    mean = array.mean(axis=-1, keepdims=True)
    spread = np.abs(array - mean).max(axis=-1)
    return spread <= 10 * np.finfo(np.float64).eps * np.abs(mean[..., 0])
