"""The arms: each a pure `fit` on the training images alone and a jit-compiled `apply`.

How arms compose, and in which units each one reads its input, is told in `jaxinv.preprocess.arm`.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from jaxinv import catalogue
from jaxinv.errors import InputError, unknown
from jaxinv.preprocess import affine
from jaxinv.preprocess.arm import Part, Preprocess, compose
from jaxinv.preprocess.training import check_images, run

__all__ = ["Preprocess", "get_arm", "transform"]

PARTS: dict[str, Part] = {part.name: part for part in affine.PARTS}


def get_arm(arm: str | Preprocess) -> Preprocess:
    """The arm of that name, or the arm itself; `+` composes, left to right.

    >>> get_arm("inverted+pixel_mean").name
    'inverted+pixel_mean'
    >>> get_arm("nomal")
    Traceback (most recent call last):
    ...
    jaxinv.errors.InputError: arms: 'nomal' is not known; did you mean 'normal'? Allowed: ...
    """
    return arm if isinstance(arm, Preprocess) else _named(arm)


@cache
def _named(name: str) -> Preprocess:
    if not isinstance(name, str):
        raise InputError(f"arms: {name!r} is no arm; allowed: a name, names joined by '+', or a Preprocess")
    names = [part.strip() for part in name.split("+")]
    if "" in names:
        raise InputError(f"arms: {name!r} has an empty part; allowed: a name, or names joined by '+'")
    for part in names:
        if part not in catalogue.ARMS:
            raise unknown("arms", part, catalogue.ARMS)
    return compose([PARTS[part] for part in names], catalogue.ARMS[names[0]] if len(names) == 1 else "")


def transform(arm: Preprocess, params: Any, images: np.ndarray) -> np.ndarray:
    """The images as the arm presents them: float32 [N, H, W, K], from uint8 [N, H, W, K].

    Runs the jitted `apply` in slabs of one compiled shape.
    """
    return run(arm.apply, params, check_images(images))
