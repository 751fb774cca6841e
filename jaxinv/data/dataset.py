"""`Dataset`: labelled uint8 images, split into train and test, checked once and then immutable."""

import hashlib
import mmap
from dataclasses import InitVar, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from jaxinv.data.grey_values import BYTES, UNIT, check_channels, check_value_range, grey_values
from jaxinv.data.labels import class_labels
from jaxinv.data.source import read_as_bytes, read_split
from jaxinv.errors import InputError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


class FixedMap(mmap.mmap):
    """A map, for reading, of a file that nobody changes. Arrays in it are never copied."""


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

    @classmethod
    def from_source(
        cls,
        train: Any,
        test: Any,
        *,
        image: str | int | None = None,
        label: str | int | None = None,
        name: str = "source",
        classes: int = 0,
        value_range: tuple[int, int] | None = None,
        channels: Literal["first", "last"] | None = None,
        renumber: bool | None = None,
    ) -> "Dataset":
        """The dataset of two sources: datasets of Hugging Face, `tfds.data_source`, torchvision, Grain; lists.

        A source has a length and items in order. Each item is a mapping or a tuple with an image (of Pillow, or
        whatever NumPy makes an array of, such as a tensor) and a label (a whole number). All images have one shape.
        They are read one by one into an array of uint8.

        Args:
            train: the source to train on.
            test: the source to test on.
            image: the image's name in mappings, or position in tuples. By default the one usual name that is there
                ("image", "img", "pixel_values", …), or the first of two.
            label: the same for the label ("label", "target", …; the second of two).
            name: what the dataset is called.
            classes, value_range, channels, renumber: as for `Dataset`. Tensors of PyTorch often have channels "first".

        Raises:
            InputError: an argument, or an item by its number, that makes no sense.

        >>> import numpy as np
        >>> items = [{"image": np.full((2, 2), 40 * i, np.uint8), "label": i % 3} for i in range(6)]
        >>> Dataset.from_source(items[:4], items[4:], classes=3)
        Dataset('source': 4 + 2 images of 2×2×1, 3 classes)
        """
        known = check_value_range(value_range)
        first = check_channels(channels) == "first"
        splits = {
            field: read_split(field, source, image, label, known, first)
            for field, source in (("train", train), ("test", test))
        }
        ranges = {field: split.floats for field, split in splits.items()}
        if None in ranges.values() and ranges["train"] != ranges["test"]:
            raise InputError("train and test: one has floats and the other integers; give one kind")
        if ranges["train"] != ranges["test"]:
            field = next(field for field in splits if ranges[field] == UNIT)
            read_as_bytes(field, splits[field].levels)
        for split in splits.values():
            split.levels.flags.writeable = False  # so that they need not be copied
        return cls(
            x_train=splits["train"].levels,
            y_train=np.asarray(splits["train"].labels),
            x_test=splits["test"].levels,
            y_test=np.asarray(splits["test"].labels),
            name=name,
            classes=classes,
            value_range=None if known is None and ranges["train"] is None else BYTES,
            channels="last" if first else channels,
            renumber=renumber,
        )

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


def is_shared(array: Any) -> bool:
    """Whether an array lies in a file that all processes of this machine map."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, memoryview) and isinstance(array.obj, FixedMap)


def _is_immutable(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        if array.base is None:
            return True
        array = array.base
    return isinstance(array.obj if isinstance(array, memoryview) else array, (bytes, FixedMap))
