"""Test images as evaluation reads them: in tiles, and without pixels that are dark in all images of a tile.

A dark pixel (0 as stored) adds nothing to a product. Most pixels of MNIST are dark in most images: with the pixels
ordered from the most often lit one to the least, and the images by the last pixel that they light, the first quarter of
the images needs the first 344 of 784 pixels, the next quarter 412, and all of them 60 % of the arithmetic.
"""

from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from jaxinv.data import Dataset
from jaxinv.training.trial import Tiles

PARTS = 4  # each is a product of its own to compile
LEAST_IMAGES = 500  # in a part
WORTHWHILE = 0.9  # of the arithmetic; a part that saves less is not worth compiling


class Part(NamedTuple):
    """Test images that light none but the first `width` pixels of `Lit.pixels`."""

    images: np.ndarray  # int [n], which ones
    width: int


class Lit(NamedTuple):
    """An order of pixels, and the test images in parts that need ever more of them."""

    pixels: np.ndarray  # int32 [H·W·K], the most often lit first
    parts: tuple[Part, ...]


_orders: WeakKeyDictionary[Dataset, Lit | None] = WeakKeyDictionary()


def lit_first(dataset: Dataset) -> Lit | None:
    """The test images without most of their dark pixels; None where that saves too little."""
    if dataset not in _orders:
        _orders[dataset] = _order(dataset.x_test)
    return _orders[dataset]


def _order(images: np.ndarray) -> Lit | None:
    count = len(images)
    lit = images.reshape(count, -1) != 0
    pixels = np.argsort(-np.add.reduce(lit, axis=0, dtype=np.int32), kind="stable").astype(np.int32)
    last = np.empty(len(pixels), np.int32)
    last[pixels] = np.arange(1, len(pixels) + 1)
    widths = np.max(lit * last, axis=1, initial=1)
    order = np.argsort(widths, kind="stable")
    parts = tuple(
        Part(part, int(widths[part[-1]])) for part in np.array_split(order, max(1, min(PARTS, count // LEAST_IMAGES)))
    )
    work = sum(len(part.images) * part.width for part in parts)
    return Lit(pixels, parts) if work <= WORTHWHILE * lit.size else None


def lay_out(
    images: np.ndarray, labels: np.ndarray, length: int, lit: Lit | None
) -> tuple[tuple[Tiles, ...], np.ndarray]:
    """Tiles of at most `length` images, and where in them each image stands (int32 [M]).

    Without `lit`, one run of tiles of whole images; with it, one for each part, of the first pixels of its order.
    """
    if lit is None:
        return (tiles(images, labels, length),), np.arange(len(images), dtype=np.int32)
    flat = images.reshape(len(images), -1)
    cut = [
        tiles(flat[np.ix_(part.images, lit.pixels[: part.width])][..., None, None], labels[part.images], length)
        for part in lit.parts
    ]
    place = np.empty(len(images), np.int32)
    start = 0
    for part, made in zip(lit.parts, cut, strict=True):
        place[part.images] = start + np.arange(len(part.images))
        start += made.labels.size
    return tuple(cut), place


def tiles(images: np.ndarray, labels: np.ndarray, length: int) -> Tiles:
    """[M, ...] to [tiles, tile, ...], evenly, the last tile filled up with black images labelled -1."""
    count = -(-len(images) // length)
    length = -(-len(images) // count)
    fill = count * length - len(images)
    images = np.concatenate([images, np.zeros((fill, *images.shape[1:]), images.dtype)]) if fill else images
    labels = np.concatenate([labels, np.full(fill, -1, labels.dtype)]) if fill else labels
    return Tiles(images.reshape(count, length, *images.shape[1:]), labels.reshape(count, length))
