"""`Dataset`: labelled uint8 images, split into train and test, checked once and then immutable."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from jaxinv.errors import InputError, one_line

_FLOATS = "whole numbers from 0 to 255, or multiples of 1/255 from 0 to 1"
_MOST_CLASSES_GUESSED = 100_000  # a larger label is more likely an identifier than a class


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Dataset:
    """Images and labels, to train on and to test on.

    Images are stored as uint8 grey values of shape [N, H, W, K]. Also accepted, where the conversion loses nothing:
    [N, H, W] (one channel is added), other integers from 0 to 255, floats that are whole numbers from 0 to 255, and
    floats from 0 to 1 that are multiples of 1/255. Floats of which none exceeds 1 are read as 0 to 1.

    Labels are stored as int32 of shape [N], each from 0 to `classes` − 1; `classes` is by default the largest label
    of either split plus one.

    The arrays are read-only, and copies wherever the caller could still write to the original.

    Raises:
        InputError: naming the field, for any other shape, dtype or range, NaN, an empty split, splits that differ in
            image shape, or fewer than two classes.

    >>> import numpy as np
    >>> x = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
    >>> data = Dataset(x_train=x[:4], y_train=[0, 1, 2, 0], x_test=x[4:], y_test=[1, 2], name="tiny")
    >>> data
    Dataset('tiny': 4 + 2 images of 2×2×1, 3 classes)
    >>> data.x_train.shape, data.image_shape
    ((4, 2, 2, 1), (2, 2, 1))
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    name: str = "arrays"
    classes: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise InputError(f"name: {self.name!r} is not allowed; give a line of text")
        x_train, x_test = _grey_values({"x_train": self.x_train, "x_test": self.x_test})
        y_train = _labels("y_train", self.y_train, len(x_train))
        y_test = _labels("y_test", self.y_test, len(x_test))
        if x_train.shape[1:] != x_test.shape[1:]:
            raise InputError(
                f"x_test: image shape {x_test.shape[1:]} is not allowed; give {x_train.shape[1:]}, the shape in x_train"
            )
        largest = int(max(y_train.max(), y_test.max()))
        classes = _classes(self.classes, largest)
        for field, labels in (("y_train", y_train), ("y_test", y_test)):
            if labels.max() >= classes:
                raise InputError(f"{field}: label {labels.max()} is not allowed; give 0 to {classes - 1}")
        values = {"x_train": x_train, "x_test": x_test, "classes": classes}
        values |= {"y_train": y_train.astype(np.int32, copy=False), "y_test": y_test.astype(np.int32, copy=False)}
        for field, value in values.items():
            object.__setattr__(self, field, _frozen(value) if isinstance(value, np.ndarray) else value)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, K)."""
        _, height, width, channels = self.x_train.shape
        return height, width, channels

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of the number of classes and of the shapes and bytes of the four arrays; not of the name."""
        digest = hashlib.sha256(f"classes {self.classes}\n".encode())
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(f"{array.dtype.str} {array.shape}\n".encode())
            digest.update(array.data)
        return digest.hexdigest()

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.image_shape))
        images = f"{len(self.x_train):,} + {len(self.x_test):,} images of {shape}"
        return f"Dataset({self.name!r}: {images}, {self.classes:,} classes)"


def _array(field: str, value: Any) -> np.ndarray:
    if isinstance(value, np.ma.MaskedArray):
        raise InputError(f"{field}: a masked array is not allowed; give one in which every value counts")
    try:
        return np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise InputError(f"{field}: not a rectangular array ({one_line(error)}); give one") from error


def _grey_values(images: dict[str, Any]) -> Sequence[np.ndarray]:
    """Both splits as uint8 [N, H, W, K]; one convention of range holds for both."""
    arrays = {field: _image_shaped(field, _array(field, value)) for field, value in images.items()}
    kinds = {field: array.dtype.kind for field, array in arrays.items()}
    if len(set(kinds.values())) > 1 and "f" in kinds.values():
        listed = ", ".join(f"{field} is {array.dtype}" for field, array in arrays.items())
        raise InputError(
            f"{' and '.join(arrays)}: one is float and the other is not, so their ranges differ ({listed})"
        )
    if "f" not in kinds.values():
        return [_from_integers(field, array) for field, array in arrays.items()]
    for field, array in arrays.items():
        if not np.isfinite(array).all():
            value = array[~np.isfinite(array)][0]
            raise InputError(f"{field}: {value} is not allowed; give finite values")
    unit = max(float(array.max()) for array in arrays.values()) <= 1
    convert = _from_unit_floats if unit else _from_whole_floats
    return [convert(field, array) for field, array in arrays.items()]


def _image_shaped(field: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "uif":
        raise InputError(
            f"{field}: dtype {array.dtype} is not allowed; give uint8 grey values, or numbers that equal some"
        )
    if array.ndim not in (3, 4):
        raise InputError(f"{field}: shape {array.shape} is not allowed; give [N, H, W, K] or [N, H, W]")
    if len(array) == 0:
        raise InputError(f"{field}: shape {array.shape} is not allowed; give at least one image")
    if 0 in array.shape:
        raise InputError(f"{field}: shape {array.shape} is not allowed; give images with H, W and K of at least 1")
    return array[..., None] if array.ndim == 3 else array


def _from_integers(field: str, array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 255:
        raise InputError(f"{field}: grey values from {low} to {high} are not allowed; give 0 to 255")
    return array.astype(np.uint8)


def _from_whole_floats(field: str, array: np.ndarray) -> np.ndarray:
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 255 or not np.array_equal(array, np.rint(array)):
        raise InputError(f"{field}: floats from {low:g} to {high:g} are not allowed; give {_FLOATS}")
    return array.astype(np.uint8)


def _from_unit_floats(field: str, array: np.ndarray) -> np.ndarray:
    low = float(array.min())
    if low < 0:
        raise InputError(f"{field}: floats from {low:g} to {float(array.max()):g} are not allowed; give {_FLOATS}")
    levels = np.rint(array * array.dtype.type(255)).astype(np.uint8)
    # k/255 comes out of a division, or of a product with 1/255: the two can differ in the last bit
    divided = (np.arange(256) / 255).astype(array.dtype)
    multiplied = np.arange(256).astype(array.dtype) * array.dtype.type(1 / 255)
    if not ((array == divided[levels]) | (array == multiplied[levels])).all():
        raise InputError(
            f"{field}: floats from 0 to 1 that are no multiples of 1/255 are not allowed; give uint8 grey values, "
            "for example np.rint(255 * images).astype(np.uint8)"
        )
    return levels


def _labels(field: str, value: Any, count: int) -> np.ndarray:
    array = _array(field, value)
    if array.ndim != 1:
        raise InputError(f"{field}: shape {array.shape} is not allowed; give [N], one whole number for each image")
    if len(array) != count:
        raise InputError(f"{field}: {len(array):,} labels are not allowed; give {count:,}, one for each image")
    if array.dtype.kind not in "ui":
        raise InputError(f"{field}: dtype {array.dtype} is not allowed; give integers")
    if array.min() < 0:
        raise InputError(f"{field}: label {array.min()} is not allowed; give 0 or more")
    return array


def _classes(classes: Any, largest: int) -> int:
    if isinstance(classes, bool) or not isinstance(classes, (int, np.integer)) or classes < 0 or classes > 2**31 - 1:
        raise InputError(f"classes: {classes!r} is not allowed; give a whole number from 2, or 0 to count the labels")
    if classes == 0:
        if largest >= _MOST_CLASSES_GUESSED:
            raise InputError(
                f"classes: label {largest} would make {largest + 1:,} classes; give classes if it is meant"
            )
        classes = largest + 1
    if classes < 2:
        raise InputError(f"classes: {classes} is not allowed; give at least 2, or there is nothing to tell apart")
    return int(classes)


def _frozen(array: np.ndarray) -> np.ndarray:
    """The array, contiguous and read-only: itself if nobody can write to its memory any more, else a copy."""
    if not (array.flags.c_contiguous and _is_immutable(array)):
        array = np.array(array, order="C")
    array.flags.writeable = False
    return array


def _is_immutable(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        if array.base is None:
            return True
        array = array.base
    return isinstance(array, bytes)
