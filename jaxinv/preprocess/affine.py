"""The affine arms: x ↦ s∘x + o, pixel by pixel. Each can be folded into a layer that is linear in the pixels.

m and v are the mean and the variance (divided by N) of each pixel over the training images; G averages over the pixels that share
a statistic: all of them (global), those of a channel (channel), or none but the pixel itself (pixel).
"""

import numpy as np

from jaxinv.preprocess.arm import GREY, NORMAL, UNIT, Limits, Part, rescale
from jaxinv.preprocess.training import AffineMap, Training

POOLS = {"global": (0, 1, 2), "channel": (0, 1), "pixel": ()}


def pooled(values: np.ndarray, pool: str) -> np.ndarray:
    """The average over the pixels that share a statistic; exact where they are all the same."""
    axes = POOLS[pool]
    if not axes:
        return values
    first = values[tuple(slice(1) if axis in axes else slice(None) for axis in range(3))]
    return first + (values - first).mean(axis=axes, keepdims=True)


def centre(training: Training, before: AffineMap, pool: str) -> AffineMap:
    """Subtract G of the training mean of s∘x + o, which is G(s∘m) + G(o).

    The two are kept apart: o − G(o) vanishes exactly wherever the pixels in a pool share one offset, so that nothing is left of
    `inverted`'s 1 and the map is the exact negative of the one for `normal`.
    """
    centring = -pooled(before.scale * training.moments.mean, pool)
    return AffineMap(before.scale, (before.offset - pooled(before.offset, pool)) + centring)


def mean_part(pool: str) -> Part:
    def extend(training: Training, before: AffineMap, limits: Limits | None) -> AffineMap:
        return centre(training, before, pool)

    return Part(name=f"{pool}_mean", extend=extend, reads_unit=True)


PARTS = (
    Part(name="raw", extend=rescale(*GREY), needs_limits=True, limits=GREY),
    NORMAL,
    Part(name="inverted", extend=rescale(1, 0), needs_limits=True, limits=UNIT),
    Part(name="signed", extend=rescale(-1, 1), needs_limits=True, limits=(-1.0, 1.0)),
    mean_part("global"),
    mean_part("channel"),
    mean_part("pixel"),
)
