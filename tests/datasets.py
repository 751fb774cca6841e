"""Small datasets for tests."""

import numpy as np

from jaxinv.data import Dataset


def tiny(*, shape: tuple[int, int, int] = (8, 8, 1), train: int = 200, test: int = 60, classes: int = 4) -> Dataset:
    """Noisy images of a few fixed patterns, one a class, that a linear model can learn; same numbers every time."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 200, (classes, *shape))

    def split(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(0, classes, count)
        labels[:classes] = np.arange(classes)
        images = patterns[labels] * rng.uniform(0.3, 1, (count, 1, 1, 1)) + rng.integers(0, 56, (count, *shape))
        images[:, 0] = 0  # a border that is never on
        return images.astype(np.uint8), labels

    (x_train, y_train), (x_test, y_test) = split(train), split(test)
    return Dataset(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, name="tiny")
