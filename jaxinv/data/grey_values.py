"""Grey values: numbers of any kind as uint8 levels, where that loses nothing. What is not clear is logged."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxinv.data.doubts import doubt
from jaxinv.errors import InputError, one_line, unknown

UNIT, BYTES = (0, 1), (0, 255)
_FLOATS = "whole numbers from 0 to 255, or multiples of 1/255 from 0 to 1"
_SLAB = 1024  # images looked at together


def grey_values(images: Mapping[str, Any], value_range: Any = None, channels: Any = None) -> list[np.ndarray]:
    """Both splits as uint8 [N, H, W, K]; one convention of range and of channels holds for both.

    Args:
      images: the splits, by field.
      value_range: black and white, (0, 1) or (0, 255); None: by the values, which is logged where they leave it open.
      channels: "last" for [N, H, W, K], "first" for [N, K, H, W]; None: "last", logged where it looks like the other.
    """
    value_range, first = check_value_range(value_range), check_channels(channels) == "first"
    arrays = {field: _image_shaped(field, as_array(field, value), first) for field, value in images.items()}
    floats = {array.dtype.kind == "f" for array in arrays.values()}
    if len(floats) > 1:
        listed = ", ".join(f"{field} is {array.dtype}" for field, array in arrays.items())
        raise InputError(
            f"{' and '.join(arrays)}: one is float and the other is not, so their ranges differ ({listed})"
        )
    if channels is None:
        field, array = next(iter(arrays.items()))
        ask_about_channels(field, array.shape)
    if value_range is None and floats == {True}:
        value_range = range_of(max(float(array.max()) for array in arrays.values()))
    elif value_range is None:
        value_range = BYTES
        ask_about_ones(" and ".join(arrays), arrays.values())
    return [to_levels(field, array, value_range) for field, array in arrays.items()]


def check_value_range(value_range: Any) -> tuple[int, int] | None:
    """(0, 1), (0, 255) or None."""
    given = tuple(value_range) if isinstance(value_range, Sequence) else value_range
    if given is None or given in (UNIT, BYTES):
        return given
    raise InputError(f"value_range: {value_range!r} is not allowed; give (0, 1) or (0, 255)")


def check_channels(channels: Any) -> str | None:
    """ "first", "last" or None."""
    if channels not in (None, "first", "last"):
        raise unknown("channels", channels, ("first", "last"))
    return channels


def range_of(largest: float) -> tuple[int, int]:
    """The range of floats, by the largest of them."""
    return UNIT if largest <= 1 else BYTES


def ask_about_channels(field: str, shape: tuple[int, ...]) -> None:
    """Log how images [N, H, W, K] are read that look like [N, K, H, W]."""
    _, height, width, channels = shape
    if height in (1, 3, 4) and width == channels > height:
        doubt(
            "%s: shape %s is read as [N, H, W, K], that is, images of %d×%d with %d channels; give channels='first' if "
            "it is [N, K, H, W], channels='last' if not",
            *(field, shape, height, width, channels),
        )


def ask_about_ones(field: str, arrays: Iterable[np.ndarray]) -> None:
    """Log how integers are read of which none exceeds 1."""
    lit = False
    for array in arrays:
        for start in range(0, len(array), _SLAB):
            largest = array[start : start + _SLAB].max()
            if largest > 1:
                return
            lit |= bool(largest == 1)
    if lit:
        doubt(
            "%s: integers 0 and 1 are read as grey levels 0 and 1 of 255, both nearly black; give value_range=(0, 1) "
            "if 1 is white, value_range=(0, 255) if not",
            field,
        )


def to_levels(field: str, array: np.ndarray, value_range: tuple[int, int]) -> np.ndarray:
    """Numbers in that range as uint8 levels: black 0, white 255. InputError where that would lose something."""
    if array.dtype.kind != "f":
        return _from_integers(field, array, value_range)
    if not np.isfinite(array).all():
        value = array[~np.isfinite(array)][0]
        raise InputError(f"{field}: {value} is not allowed; give finite values")
    return _from_unit_floats(field, array) if value_range == UNIT else _from_whole_floats(field, array)


def as_array(field: str, value: Any) -> np.ndarray:
    """What NumPy makes of a value; no masked array."""
    if isinstance(value, np.ma.MaskedArray):
        raise InputError(f"{field}: a masked array is not allowed; give one in which every value counts")
    try:
        return np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise InputError(f"{field}: not a rectangular array ({one_line(error)}); give one") from error
    except (TypeError, RuntimeError) as error:  # a tensor on a GPU, or one that needs its gradient
        raise InputError(f"{field}: NumPy makes no array of it ({one_line(error)}); give one") from error


def check_numbers(field: str, array: np.ndarray) -> None:
    """InputError for all dtypes but integers and floats."""
    if array.dtype.kind not in "uif":
        raise InputError(
            f"{field}: dtype {array.dtype} is not allowed; give uint8 grey values, or numbers that equal some"
        )


def _image_shaped(field: str, array: np.ndarray, channels_first: bool) -> np.ndarray:
    check_numbers(field, array)
    if array.ndim not in (3, 4):
        raise InputError(f"{field}: shape {array.shape} is not allowed; give [N, H, W, K] or [N, H, W]")
    if len(array) == 0:
        raise InputError(f"{field}: shape {array.shape} is not allowed; give at least one image")
    if 0 in array.shape:
        raise InputError(f"{field}: shape {array.shape} is not allowed; give images with H, W and K of at least 1")
    if array.ndim == 3:
        return array[..., None]
    return np.moveaxis(array, 1, -1) if channels_first else array


def _from_integers(field: str, array: np.ndarray, value_range: tuple[int, int]) -> np.ndarray:
    if array.dtype == np.uint8 and value_range == BYTES:
        return array
    (black, white), low, high = value_range, int(array.min()), int(array.max())
    if low < black or high > white:
        raise InputError(f"{field}: grey values from {low} to {high} are not allowed; give {black} to {white}")
    levels = array.astype(np.uint8)
    return levels * np.uint8(255) if value_range == UNIT else levels


def _from_whole_floats(field: str, array: np.ndarray) -> np.ndarray:
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 255 or not np.array_equal(array, np.rint(array)):
        raise InputError(f"{field}: floats from {low:g} to {high:g} are not allowed; give {_FLOATS}")
    return array.astype(np.uint8)


def _from_unit_floats(field: str, array: np.ndarray) -> np.ndarray:
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise InputError(f"{field}: floats from {low:g} to {high:g} are not allowed; give {_FLOATS}")
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
