"""Relighting: each image photographed, as it were, at its own hour of the day."""

import numpy as np

from jaxinv.data.dataset import Dataset
from jaxinv.errors import InputError, number, whole

_SLAB = 1024  # images at a time: what the intermediate floats take stays small


def relight(dataset: Dataset, *, strength: float = 0.5, seed: int = 0) -> Dataset:
    """The dataset with a random gain and offset for each image, as if taken by daylight and at night.

    Grey value v of image i becomes

        v' = round(gᵢ v + 255 oᵢ),   gᵢ ~ U[1 − strength, 1],   oᵢ ~ U[0, 1 − gᵢ]

    so contrast falls to gᵢ of what it was, and what is left of the range is divided at random between darkness and
    haze. Nothing is ever clipped: the order of grey values within an image is kept, and only quantisation loses
    information. With strength 0 every image stays as it is.

    Image i of either split gets the same gain and offset whatever images follow it; the two splits draw from
    independent streams (Philox, keyed by the seed and the split).

    Args:
        dataset: what to relight.
        strength: how much of the contrast can be lost, from 0 up to, but not including, 1.
        seed: of the draws, from 0 to 2⁶⁴ − 1.

    Returns:
        A new `Dataset`, whose name tells the strength and the seed.

    Raises:
        InputError: strength or seed out of range.

    >>> import numpy as np
    >>> x = np.array([0, 255], np.uint8).reshape(1, 1, 2, 1).repeat(3, axis=0)
    >>> data = Dataset(x_train=x, y_train=[0, 1, 0], x_test=x, y_test=[1, 0, 1], name="ramps")
    >>> lit = relight(data, strength=0.8, seed=1)
    >>> lit.name
    'ramps+relight(strength=0.8, seed=1)'
    >>> bool((lit.x_train[:, 0, 0] < lit.x_train[:, 0, 1]).all())
    True
    """
    strength = number("strength", strength)
    if not 0 <= strength < 1:
        raise InputError(f"strength: {strength:g} is not allowed; give a number from 0 up to, but not, 1")
    seed = whole("seed", seed, 0, 2**64 - 1)
    return Dataset(
        x_train=_relit(dataset.x_train, strength, seed, split=0),
        y_train=dataset.y_train,
        x_test=_relit(dataset.x_test, strength, seed, split=1),
        y_test=dataset.y_test,
        name=f"{dataset.name}+relight(strength={strength:g}, seed={seed})",
        classes=dataset.classes,
        value_range=(0, 255),
        channels="last",
    )


def gains_and_offsets(count: int, strength: float, seed: int, split: int) -> tuple[np.ndarray, np.ndarray]:
    """gᵢ and oᵢ of the first `count` images of a split (0 train, 1 test), as fractions of the range; float64 [N]."""
    # Raw words, because only those of a bit generator are promised to stay the same from one NumPy to the next.
    words = np.random.Philox(key=np.array([seed, split], np.uint64)).random_raw(2 * count)
    uniform = (words >> np.uint64(11)).reshape(count, 2) * 2.0**-53
    gain = 1 - strength * uniform[:, 0]
    return gain, (1 - gain) * uniform[:, 1]


def _relit(images: np.ndarray, strength: float, seed: int, split: int) -> np.ndarray:
    gain, offset = gains_and_offsets(len(images), strength, seed, split)
    relit = np.empty_like(images)
    for start in range(0, len(images), _SLAB):
        rows = slice(start, start + _SLAB)
        values = images[rows] * gain[rows, None, None, None]
        values += 255 * offset[rows, None, None, None]
        relit[rows] = np.rint(values, out=values)
    relit.flags.writeable = False
    return relit
