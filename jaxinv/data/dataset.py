"""`Dataset`: labelled uint8 images, split into train and test, checked once and then immutable."""

import hashlib
from dataclasses import InitVar, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from jaxinv.data.grey_values import grey_values
from jaxinv.data.labels import class_labels
from jaxinv.errors import InputError


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Dataset:
    """Images and labels, to train on and to test on.

    Images are stored as uint8 grey values of shape [N, H, W, K]. Also accepted, where the conversion loses nothing:
    [N, H, W] (one channel is added), other integers from 0 to 255, floats that are whole numbers from 0 to 255, and
    floats from 0 to 1 that are multiples of 1/255. Labels are stored as int32 of shape [N], each from 0 to
    `classes` − 1. The arrays are read-only, and copies wherever the caller could still write to the original.

    Three arguments say what the arrays mean where that is open. Without them it is guessed, and the guess is logged as
    a warning where it may well be wrong:

    Args:
        value_range: black and white: (0, 1) or (0, 255). By default (0, 1) for floats of which none exceeds 1, else
            (0, 255); logged for integers of which none exceeds 1.
        channels: "last" for [N, H, W, K], which is the default, or "first" for [N, K, H, W]; logged for arrays that
            look like the latter, such as [N, 3, 32, 32].
        classes: the number of classes; by default the largest label of either split plus one, logged where some of
            the labels below it do not occur.
        renumber: True replaces the labels that occur by 0, 1, … in their order; False keeps them.

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
    value_range: InitVar[tuple[int, int] | None] = None
    channels: InitVar[Literal["first", "last"] | None] = None
    renumber: InitVar[bool | None] = None

    def __post_init__(
        self,
        value_range: tuple[int, int] | None,
        channels: Literal["first", "last"] | None,
        renumber: bool | None,
    ) -> None:
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise InputError(f"name: {self.name!r} is not allowed; give a line of text")
        x_train, x_test = grey_values({"x_train": self.x_train, "x_test": self.x_test}, value_range, channels)
        if x_train.shape[1:] != x_test.shape[1:]:
            raise InputError(
                f"x_test: image shape {x_test.shape[1:]} is not allowed; give {x_train.shape[1:]}, the shape in x_train"
            )
        counts = {"y_train": len(x_train), "y_test": len(x_test)}
        (y_train, y_test), classes = class_labels(
            {"y_train": self.y_train, "y_test": self.y_test}, counts, self.classes, renumber
        )
        values = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test, "classes": classes}
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
