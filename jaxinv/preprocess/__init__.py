"""The arms: each a pure `fit` to the training images alone and a jit-compiled `apply`.

How arms compose, and in which unit each reads its input, stands in `jaxinv.preprocess.arm`; formulas and sources stand
with each arm, and `describe_arms` lists them.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from jaxinv import registry
from jaxinv.errors import InputError, unknown
from jaxinv.preprocess import affine, contrast, per_image, whitening
from jaxinv.preprocess.arm import Part, Preprocess, compose, fit_parts, training_on
from jaxinv.preprocess.checking import check_output
from jaxinv.preprocess.training import check_images, run

__all__ = ["ArmInfo", "Preprocess", "check_output", "describe_arms", "fit_arms", "get_arm", "transform"]

PARTS: dict[str, Part] = {
    part.name: part for part in (*affine.PARTS, *per_image.PARTS, *contrast.PARTS, *whitening.PARTS)
}


def get_arm(arm: str | Preprocess) -> Preprocess:
    """The arm of that name, or the arm itself; `+` composes, left to right.

    Raises:
        InputError: for an unknown name, an empty one, or a composition that makes no sense.

    >>> get_arm("inverted+pixel_mean").name
    'inverted+pixel_mean'
    """
    if isinstance(arm, Preprocess):
        return arm
    if not isinstance(arm, str):
        raise InputError(f"arms: {arm!r} is no arm; allowed: a name, names joined by '+', or a Preprocess")
    return _named(arm)


@cache
def _named(name: str) -> Preprocess:
    names = [part.strip() for part in name.split("+")]
    if "" in names:
        raise InputError(f"arms: {name!r} has an empty part; allowed: a name, or names joined by '+'")
    for part in names:
        if part not in registry.ARMS:
            raise unknown("arms", part, registry.ARMS)
    return compose([PARTS[part] for part in names], registry.ARMS[names[0]] if len(names) == 1 else "")


def fit_arms(arms: Sequence[Preprocess], images: np.ndarray) -> list[Any]:
    """The parameters of several arms, each as its `fit` gives them; statistics that they share are counted once.

    images: the training images, uint8 [N, H, W, K].
    """
    training = training_on(images)
    return [fit_parts(arm.parts, training) if arm.parts else arm.fit(training.images) for arm in arms]


def transform(arm: Preprocess, params: Any, images: np.ndarray) -> np.ndarray:
    """The images as the arm presents them: float32 [N, H, W, K], from uint8 [N, H, W, K].

    Runs the jitted `apply` in slabs of one compiled shape.

    An image that a user's own arm turns into NaN stays so: the trials that see it are flagged as diverged.

    Raises:
        InputError: the images are not stored images.

    >>> arm = get_arm("inverted")
    >>> images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    >>> transform(arm, arm.fit(images), images).ravel().round(6).tolist()
    [1.0, -0.0]
    """
    return run(arm.apply, params, check_images(images))


class ArmInfo(NamedTuple):
    """One line of `describe_arms`."""

    name: str
    description: str
    formula: str
    affine: bool
    source: str


def describe_arms() -> list[ArmInfo]:
    """Every built-in arm, in the catalogue's order: its formula, whether it is affine, where it comes from.

    >>> describe_arms()[1]
    ArmInfo(name='normal', description='...', formula='x/255', affine=True, source="TensorFlow's MNIST tutorial, ...")
    """
    return [
        ArmInfo(
            name,
            line,
            _line("Formula", PARTS[name].doc),
            PARTS[name].extend is not None,
            _line("Source", PARTS[name].doc),
        )
        for name, line in registry.ARMS.items()
    ]


def _line(label: str, doc: str) -> str:
    """What a docstring says behind `label:`; nothing where Python runs without docstrings."""
    return next(
        (line.strip()[len(label) + 2 :] for line in doc.splitlines() if line.strip().startswith(f"{label}: ")), ""
    )
