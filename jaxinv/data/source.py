"""Images and labels of any source with a length and items, read one by one into an array of uint8."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxinv.data.grey_values import BYTES, UNIT, as_array, check_numbers, range_of, to_levels
from jaxinv.errors import InputError, unknown, whole
from jaxinv.utils.memory import available_bytes

IMAGE_NAMES = ("image", "images", "img", "pixel_values", "x")
LABEL_NAMES = ("label", "labels", "target", "targets", "y")
MODES = ("L", "LA", "RGB", "RGBA", "I", "I;16", "F")  # of Pillow's images, those whose values are grey values
CONVERTED = {"1": "L", "P": "RGB"}  # without loss
_SLAB = 256  # images converted together


class Split(NamedTuple):
    """One split: `levels` uint8 [N, H, W] or [N, H, W, K], labels [N], the range of floats, None for integers."""

    levels: np.ndarray
    labels: list[int]
    floats: tuple[int, int] | None


def read_split(
    field: str, source: Any, image: Any, label: Any, value_range: tuple[int, int] | None, channels_first: bool
) -> Split:
    """The images and labels of a source.

    Args:
      field: what messages call it.
      source: has a length and items in order, each a mapping or a tuple.
      image, label: names or positions in each item; None: found by the usual names, or the two parts of a pair.
      value_range: black and white; None: (0, 1) for floats of which none exceeds 1, else (0, 255).
      channels_first: images are [K, H, W].
    """
    count, item = _first(field, source)
    places = _places(field, item, image, label)
    first = _pixels(field, 0, _part(field, 0, item, places[0]), channels_first)
    if count * first.size > available_bytes():
        raise InputError(
            f"{field}: {count * first.size:,} bytes of images do not fit memory; give fewer or smaller ones"
        )
    levels, labels = np.empty((count, *first.shape), np.uint8), []
    floats = first.dtype.kind == "f"
    found = value_range
    for start in range(0, count, _SLAB):
        rows = range(start, min(start + _SLAB, count))
        slab = []
        for index, item in zip(rows, _items(field, source, rows), strict=True):
            pixels = _pixels(field, index, _part(field, index, item, places[0]), channels_first)
            if pixels.shape != first.shape or (pixels.dtype.kind == "f") != floats:
                one, other = (f"of shape {image.shape} and {image.dtype}" for image in (pixels, first))
                raise InputError(
                    f"{field}: item {index} has an image {one}, and item 0 {other}; give images of one shape and kind"
                )
            slab.append(pixels)
            labels.append(_label(field, index, _part(field, index, item, places[1])))
        together = np.stack(slab)
        if floats and value_range is None and found != BYTES:
            here = range_of(together.max())
            if found == UNIT and here == BYTES:
                read_as_bytes(field, levels[:start])
            found = here
        levels[start : rows.stop] = to_levels(field, together, found or BYTES)
    return Split(levels, labels, found if floats else None)


def _items(field: str, source: Any, rows: range) -> Iterable[Any]:
    """Items of a source: at once where it can (`__getitems__`, 2.3 times as fast with Hugging Face), or one by one."""
    if not hasattr(source, "__getitems__"):
        return (source[index] for index in rows)
    items = source.__getitems__(list(rows))
    if len(items) != len(rows):
        raise InputError(f"{field}: {len(items)} items came where {len(rows)} were asked for; give one for each number")
    return items


def read_as_bytes(field: str, levels: np.ndarray) -> None:
    """Read again, in place, floats from 0 to 1 as from 0 to 255, since others in the data exceed 1."""
    for rows in np.array_split(levels, -(-len(levels) // _SLAB)):
        to_levels(field, rows / np.float32(255), BYTES)  # only 0 and 1 are whole
        rows //= 255


def _first(field: str, source: Any) -> tuple[int, Any]:
    """The length of a source and its first item."""
    if isinstance(source, Mapping):
        names = ", ".join(map(str, source))
        raise InputError(f"{field}: a mapping of {names} is not allowed; give the split in it")
    try:
        count = len(source)
    except TypeError:
        count = -1
    if count < 0 or not hasattr(source, "__getitem__") or isinstance(source, (str, bytes)):
        raise InputError(
            f"{field}: {type(source).__name__} is not allowed; give what has a length and items in order, each with an "
            "image and a label"
        )
    if count == 0:
        raise InputError(f"{field}: no items; give at least one")
    try:
        return count, source[0]
    except KeyError as error:
        raise InputError(f"{field}: {type(source).__name__} has no item 0; give what is numbered from 0") from error


def _places(field: str, item: Any, image: Any, label: Any) -> tuple[Any, Any]:
    """Where in an item the image and the label are."""
    if isinstance(item, Mapping):
        places = [
            _named(field, item, argument, given, usual)
            for argument, given, usual in (("image", image, IMAGE_NAMES), ("label", label, LABEL_NAMES))
        ]
    elif isinstance(item, (tuple, list)):
        if len(item) == 2 and image in (None, 0) and label in (None, 1):
            image, label = 0, 1
        for argument, given in (("image", image), ("label", label)):
            if given is None:
                raise InputError(
                    f"{argument}: not clear among the {len(item)} parts of {field}'s items; give its position"
                )
            whole(argument, given, 0, len(item) - 1, hint=f", a position in the items of {field}")
        places = [image, label]
    else:
        raise InputError(
            f"{field}: item 0 is of type {type(item).__name__}, which is not allowed; give mappings or tuples with an "
            "image and a label"
        )
    if places[0] == places[1]:
        raise InputError(f"label: {places[1]!r} is the image; give another place")
    return places[0], places[1]


def _named(field: str, item: Mapping[Any, Any], argument: str, given: Any, usual: tuple[str, ...]) -> Any:
    if given is not None:
        if given not in item:
            raise unknown(argument, given, map(str, item))
        return given
    found = [name for name in usual if name in item]
    if len(found) != 1:
        raise InputError(f"{argument}: not clear among {', '.join(map(str, item))} in {field}; give its name")
    return found[0]


def _part(field: str, index: int, item: Any, place: Any) -> Any:
    try:
        return item[place]
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(f"{field}: item {index} has no {place!r}, which item 0 has; give it in all") from error


def _pixels(field: str, index: int, value: Any, channels_first: bool) -> np.ndarray:
    """An image as an array of numbers [H, W] or [H, W, K]."""
    name = f"{field}: item {index}"
    mode = getattr(value, "mode", None)
    if mode is not None and hasattr(value, "convert"):  # an image of Pillow
        if mode not in (*MODES, *CONVERTED):
            raise InputError(f"{name}: an image of mode {mode!r} is not allowed; give RGB or L")
        value = value.convert(CONVERTED[mode]) if mode in CONVERTED else value
    array = as_array(name, value)
    check_numbers(name, array)
    if array.ndim not in (2, 3):
        raise InputError(f"{name}: an image of shape {array.shape} is not allowed; give [H, W] or [H, W, K]")
    return np.moveaxis(array, 0, -1) if channels_first and array.ndim == 3 else array


def _label(field: str, index: int, value: Any) -> int:
    array = as_array(f"{field}: item {index}", value)
    if array.size != 1 or array.dtype.kind not in "ui":
        raise InputError(f"{field}: item {index} has the label {value!r}, which is not allowed; give one whole number")
    return int(array.item())
