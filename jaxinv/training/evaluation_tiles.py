"""Test images as evaluation reads them: in tiles, and without pixels that are 0 in all images of a tile.

A pixel that is 0 as stored adds nothing to a product. Most pixels of MNIST are 0 in most images. So the pixels are
ordered by how often they are lit (not 0), and the images by the last pixel that they light. The first quarter of the
images then needs the first 344 of 784 pixels, the next quarter 412, and all of them 60 % of the arithmetic.

An *evaluation tile* is a run of test images that one product evaluates. *Groups* of tiles differ in how many pixels
they read.
"""

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from jaxinv.data import Dataset

GROUPS = 4  # each is a product of its own to compile
LEAST_IMAGES = 500  # in a group
WORTHWHILE = 0.9  # of the arithmetic; an order that saves less is not worth compiling

Array = Any  # a jax.Array, or what stands for one: NumPy's, a shape and dtype


class Tiles(NamedTuple):
    """Test images in tiles of equal length, the last filled up with images labelled -1."""

    images: Array  # [tiles, tile, H, W, K], or [tiles, tile, n, 1, 1] of the first n of `TestSet.pixel_order`; or flat
    labels: Array  # int32 [tiles, tile]


class TestSet(NamedTuple):
    """M test images in groups of tiles."""

    __test__ = False  # pytest takes classes of such names for its own

    groups: tuple[Tiles, ...]  # each of images with one number of pixels
    position: Array  # int32 [M], where each test image stands in the tiles, laid end to end
    pixel_order: Array | None  # int32 [H·W·K], the pixels in the order that the groups read; None: their own


class ImageGroup(NamedTuple):
    """Test images that light none but the first `width` pixels of a `PixelOrder`."""

    images: np.ndarray  # int [n], which ones
    width: int


class PixelOrder(NamedTuple):
    """An order of the pixels, and the test images in groups that need ever more of them."""

    pixels: np.ndarray  # int32 [H·W·K], the most often lit first
    groups: tuple[ImageGroup, ...]


_orders: WeakKeyDictionary[Dataset, PixelOrder | None] = WeakKeyDictionary()


def pixel_order(dataset: Dataset) -> PixelOrder | None:
    """The order that leaves out most pixels that are 0 in test images; None where that saves too little."""
    if dataset not in _orders:
        _orders[dataset] = _order(dataset.x_test)
    return _orders[dataset]


def _order(images: np.ndarray) -> PixelOrder | None:
    count = len(images)
    lit = images.reshape(count, -1) != 0
    pixels = np.argsort(-np.add.reduce(lit, axis=0, dtype=np.int32), kind="stable").astype(np.int32)
    rank = np.empty(len(pixels), np.int32)
    rank[pixels] = np.arange(1, len(pixels) + 1)
    widths = np.max(lit * rank, axis=1, initial=1)
    by_width = np.argsort(widths, kind="stable")
    parts = np.array_split(by_width, max(1, min(GROUPS, count // LEAST_IMAGES)))
    groups = tuple(ImageGroup(part, int(widths[part[-1]])) for part in parts)
    work = sum(len(group.images) * group.width for group in groups)
    return PixelOrder(pixels, groups) if work <= WORTHWHILE * lit.size else None


def tile_test_set(images: np.ndarray, labels: np.ndarray, length: int, order: PixelOrder | None) -> TestSet:
    """Test images [M, H, W, K] in tiles of at most `length`: one group of whole images, or a group for each of `order`.

    >>> made = tile_test_set(np.ones((3, 2, 2, 1), np.uint8), np.arange(3), 2, None)
    >>> made.groups[0].images.shape, made.groups[0].labels.tolist()
    ((2, 2, 2, 2, 1), [[0, 1], [2, -1]])
    """
    if order is None:
        return TestSet((tile(images, labels, length),), np.arange(len(images), dtype=np.int32), None)
    flat = images.reshape(len(images), -1)
    groups = tuple(
        tile(flat[np.ix_(group.images, order.pixels[: group.width])][..., None, None], labels[group.images], length)
        for group in order.groups
    )
    position = np.empty(len(images), np.int32)
    start = 0
    for group, tiles in zip(order.groups, groups, strict=True):
        position[group.images] = start + np.arange(len(group.images))
        start += tiles.labels.size
    return TestSet(groups, position, order.pixels)


def tile(images: np.ndarray, labels: np.ndarray, length: int) -> Tiles:
    """[M, ...] to [tiles, tile, ...], evenly, the last tile filled up with black images labelled -1."""
    count = -(-len(images) // length)
    length = -(-len(images) // count)
    fill = count * length - len(images)
    images = np.concatenate([images, np.zeros((fill, *images.shape[1:]), images.dtype)]) if fill else images
    labels = np.concatenate([labels, np.full(fill, -1, labels.dtype)]) if fill else labels
    return Tiles(images.reshape(count, length, *images.shape[1:]), labels.reshape(count, length))
