"""Preprocessings: each a pure `fit` to the training images alone and a jit-compiled `apply`.

`jaxinv.preprocess.preprocessing` says how they compose, and in which unit each reads its input. Formulas and sources
stand with each preprocessing, and `describe_preprocesses` lists them.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from jaxinv import registry
from jaxinv.errors import InputError
from jaxinv.preprocess import affine, contrast, per_image, whitening
from jaxinv.preprocess.checking import check_preprocess
from jaxinv.preprocess.preprocessing import Component, Preprocess, compose, fit_components
from jaxinv.preprocess.slabs import apply_in_slabs, check_images
from jaxinv.preprocess.training_images import TrainingImages

__all__ = [
    "Preprocess",
    "PreprocessInfo",
    "check_preprocess",
    "describe_preprocesses",
    "fit_preprocesses",
    "get_preprocess",
    "transform",
]

BUILT_IN: dict[str, Component] = {
    component.name: component
    for component in (*affine.COMPONENTS, *per_image.COMPONENTS, *contrast.COMPONENTS, *whitening.COMPONENTS)
}


def get_preprocess(preprocess: str | Preprocess) -> Preprocess:
    """The preprocessing of that name, or the preprocessing itself; `+` composes, left to right.

    Raises:
        InputError: for an unknown name, an empty one, or a composition that makes no sense.

    >>> get_preprocess("inverted+pixel_mean").name
    'inverted+pixel_mean'
    """
    if isinstance(preprocess, Preprocess):
        return preprocess
    if not isinstance(preprocess, str):
        raise InputError(f"arms: {preprocess!r} is not allowed; give a name, names joined by +, or a ji.Preprocess")
    return _named(preprocess)


@cache
def _named(name: str) -> Preprocess:
    names = registry.component_names("arms", name)
    description = registry.PREPROCESSINGS[names[0]] if len(names) == 1 else ""
    return compose([BUILT_IN[component] for component in names], description)


def fit_preprocesses(preprocesses: Sequence[Preprocess], images: np.ndarray) -> list[Any]:
    """The parameters of several preprocessings, each as its `fit` gives them; moments are computed once for all.

    images: the training images, uint8 [N, H, W, K].
    """
    training = TrainingImages.stored(images)
    return [
        fit_components(preprocess.components, training) if preprocess.components else preprocess.fit(training.images)
        for preprocess in preprocesses
    ]


def transform(preprocess: Preprocess, params: Any, images: np.ndarray) -> np.ndarray:
    """The preprocessed images: float32 [N, H, W, K], from uint8 [N, H, W, K].

    Runs the jitted `apply` in slabs of one compiled shape.

    An image that a user's own preprocessing turns into NaN stays so: the trials that see it are flagged as diverged.

    Raises:
        InputError: the images are not stored images.

    >>> inverted = get_preprocess("inverted")
    >>> images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    >>> transform(inverted, inverted.fit(images), images).ravel().round(6).tolist()
    [1.0, -0.0]
    """
    return apply_in_slabs(preprocess.apply, params, check_images(images))


class PreprocessInfo(NamedTuple):
    """One line of `describe_preprocesses`."""

    name: str
    description: str
    formula: str
    affine: bool
    source: str


def describe_preprocesses() -> list[PreprocessInfo]:
    """Every built-in preprocessing, in the registry's order: its formula, whether it is affine, where it comes from.

    >>> describe_preprocesses()[1]
    PreprocessInfo(name='normal', description='...', formula='x/255', affine=True, source="TensorFlow's MNIST ...")
    """
    return [
        PreprocessInfo(
            name,
            line,
            _line("Formula", BUILT_IN[name].doc),
            BUILT_IN[name].extend is not None,
            _line("Source", BUILT_IN[name].doc),
        )
        for name, line in registry.PREPROCESSINGS.items()
    ]


def _line(label: str, doc: str) -> str:
    """What a docstring says behind `label:`; nothing where Python runs without docstrings."""
    return next(
        (line.strip()[len(label) + 2 :] for line in doc.splitlines() if line.strip().startswith(f"{label}: ")), ""
    )
