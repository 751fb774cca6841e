"""`Preprocess`, the two functions that an arm is, and what `+` between arms means.

Composition
-----------
`a+b` runs left to right: b is fitted to, and reads, what a gives for the training images. Two rules settle the units:

1. **In the first place** an arm is given the stored grey values, 0 to 255. An arm that is defined on 0 to 1 acts there as if
   `normal+` stood before it. (`raw`, `histogram` and `image_standardize` read the grey values themselves, and so does an arm
   of a user's own.)
2. **Behind another arm** it takes that arm's values as they are: `raw+pixel_mean` subtracts the mean image in grey values,
   `signed+pixel_mean` the mean of the signed images.

`raw`, `normal`, `inverted`, `signed` and `histogram` say what black and white become, so they need to know which values those
are: behind an arm with known limits [a, b] they read (x − a)/(b − a). `inverted+inverted` is `normal`, `signed+inverted` is
`inverted`, `inverted+raw` is 255 − x. Behind an arm that leaves the limits open (`pixel_mean+inverted`) they mean nothing and are
refused.

Neighbouring affine arms become one affine map, fitted to the moments of the stored grey values in float64 and rounded to float32
once: it is exact, `fit` makes no copy of the data, and `inverted+pixel_mean` is `pixel_mean` with every sign flipped, to the bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxinv.errors import InputError
from jaxinv.preprocess.training import AffineMap, Training, apply_affine, check_images, run, stored

Limits = tuple[float, float]
GREY: Limits = (0.0, 255.0)
UNIT: Limits = (0.0, 1.0)
NEEDS_LIMITS = "'raw', 'normal', 'inverted', 'signed', 'histogram'"


@dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """One link of a composition: either `extend`, for an affine arm, or `fit` and `apply`.

    extend: (training, map so far from stored values, limits so far) -> map with this arm behind it
    fit: (training, affine map that stands between the training images and this arm, or None) -> parameters
    apply: (parameters, images) -> images
    """

    name: str
    extend: Callable[[Training, AffineMap, Limits | None], AffineMap] | None = None
    fit: Callable[[Training, AffineMap | None], Any] = lambda training, before: ()
    apply: Callable[[Any, Any], Any] = lambda params, images: images
    reads_unit: bool = False  # in the first place, `normal` stands before it
    needs_limits: bool = False
    limits: Limits | None = None  # of what it gives


@dataclass(frozen=True, eq=False)
class Preprocess:
    """A way to present images to a network: `fit` on the training images alone, then `apply` to any images.

    fit: images [N, H, W, K] -> params, any pytree of arrays. The images are uint8 grey values, or float32 behind another arm.
    apply: (params, images [N, H, W, K]) -> float32 [N, H, W, K]; pure, traceable by `jax.jit`, and image by image: what it gives
        for an image must not depend on the rest of the batch.
    name: how results call the arm.
    affine: for an arm that is s∘x + o pixel by pixel, (params, (H, W, K)) -> (s, o), both float32 [H, W, K]. Such an arm costs
        next to nothing where the network's first layer is linear: it is trained on the stored pixels with s and o folded into the layer.
    description: one line for listings.
    limits: the lowest and highest value that `apply` can give, where they are known; `inverted` and its kin can stand behind the
        arm only then.

    >>> import jax.numpy as jnp, numpy as np
    >>> gamma = Preprocess(fit=lambda images: (), apply=lambda params, x: jnp.sqrt(x / 255.0), name="gamma", limits=(0, 1))
    >>> arm = gamma + get_arm("inverted")
    >>> arm.name
    'gamma+inverted'
    >>> images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    >>> transform(arm, arm.fit(images), images).ravel()
    array([1., 0.], dtype=float32)
    """

    fit: Callable[[Any], Any]
    apply: Callable[[Any, Any], Any]
    name: str = "custom"
    affine: Callable[[Any, tuple[int, int, int]], tuple[Any, Any]] | None = None
    description: str = ""
    limits: Limits | None = None
    parts: tuple[Part, ...] = field(default=(), repr=False)  # () for a user's arm, which is one part of its own

    def __post_init__(self):
        for role in ("fit", "apply"):
            if not callable(getattr(self, role)):
                raise InputError(f"{role}: {getattr(self, role)!r} cannot be called; allowed: a function")
        if self.affine is not None and not callable(self.affine):
            raise InputError(f"affine: {self.affine!r} cannot be called; allowed: a function or None")
        if not isinstance(self.name, str) or not self.name or (not self.parts and "+" in self.name):
            raise InputError(f"name: {self.name!r} cannot name an arm; allowed: some text without '+'")
        if self.limits is not None and not self.limits[0] < self.limits[1]:
            raise InputError(
                f"limits: {self.limits!r} of arm {self.name!r}; allowed: a lowest and a higher highest value, or None"
            )

    def __add__(self, other: "Preprocess") -> "Preprocess":
        if not isinstance(other, Preprocess):
            return NotImplemented
        return compose(parts_of(self) + parts_of(other))


def parts_of(arm: Preprocess) -> tuple[Part, ...]:
    return arm.parts or (own_part(arm),)


def own_part(arm: Preprocess) -> Part:
    """A user's arm as a link of a composition."""
    if arm.affine is None:
        fit = lambda training, before: arm.fit(training.under(before))  # noqa: E731
        return Part(name=arm.name, fit=fit, apply=arm.apply, limits=arm.limits)

    def extend(training: Training, before: AffineMap, limits: Limits | None) -> AffineMap:
        raw = bool(np.all(before.scale == 1) and np.all(before.offset == 0))
        params = arm.fit(training.under(None if raw else before))
        scale, offset = user_affine(arm, params, training.image_shape)
        return AffineMap(scale * before.scale, scale * before.offset + offset)

    return Part(name=arm.name, extend=extend, limits=arm.limits)


def user_affine(arm: Preprocess, params: Any, image_shape: tuple[int, ...]) -> AffineMap:
    assert arm.affine is not None
    scale, offset = (np.asarray(a, np.float64) for a in arm.affine(params, image_shape))  # pyright: ignore[reportArgumentType]
    for what, array in (("scale", scale), ("offset", offset)):
        if array.shape != image_shape:
            raise InputError(
                f"arms: {arm.name!r} gives an affine {what} of shape {array.shape}; allowed: {image_shape}"
            )
    return AffineMap(scale, offset)


class Step:
    """A run of neighbouring affine parts, merged into one map, or a single part of another kind."""

    def __init__(self, parts: list[Part], limits: Limits | None):
        self.parts = parts
        self.affine = parts[0].extend is not None
        self.limits = limits  # of what comes in

    def map(self, training: Training) -> AffineMap:
        affine, limits = training.identity(), self.limits
        for part in self.parts:
            assert part.extend is not None
            affine, limits = part.extend(training, affine, limits), part.limits
        return affine

    @property
    def apply(self) -> Callable[[Any, Any], Any]:
        return apply_affine if self.affine else self.parts[0].apply


def steps_of(parts: Sequence[Part]) -> list[Step]:
    """The parts in as few steps as possible; refuses an arm whose place makes no sense."""
    if parts[0].reads_unit:
        parts = (NORMAL, *parts)
    steps: list[Step] = []
    limits: Limits | None = GREY
    for i, part in enumerate(parts):
        if part.needs_limits and limits is None:
            raise InputError(
                f"arms: {'+'.join(p.name for p in parts)!r} makes no sense: {part.name!r} has to know which values are black and "
                f"white, and {parts[i - 1].name!r} leaves that open; put {part.name!r} first, or behind one of {NEEDS_LIMITS}"
            )
        if part.extend is not None and steps and steps[-1].affine:
            steps[-1].parts.append(part)
        else:
            steps.append(Step([part], limits))
        limits = part.limits
    return steps


def compose(parts: Sequence[Part], description: str = "") -> Preprocess:
    """The arm that runs `parts` left to right."""
    parts = tuple(parts)
    name = "+".join(part.name for part in parts)
    steps = steps_of(parts)
    affine = len(steps) == 1 and steps[0].affine

    def fit(images: Any) -> Any:
        images = check_images(images, "training images")
        if len(images) == 0:
            raise InputError("training images: there are none; an arm is fitted to at least 1")
        training, before, params = Training(images), None, []
        for step in steps:
            if step.affine:
                before = step.map(training)
                params.append(stored(before))
            else:
                params.append(step.parts[0].fit(training, before))
                training, before = behind(training, before, step, params[-1]), None
        return params[0] if affine else tuple(params)

    def apply(params: Any, images: Any) -> Any:
        for step, step_params in zip(steps, (params,) if affine else params, strict=True):
            images = step.apply(step_params, images)
        return images

    return Preprocess(fit, apply, name, read_affine if affine else None, description, parts[-1].limits, parts)


def behind(training: Training, before: AffineMap | None, step: Step, params: Any) -> Training:
    """The training images as the next arm finds them; computed only if it looks."""
    return Training(lambda: run(step.apply, params, training.under(before)), training.image_shape)


def read_affine(params: dict[str, Any], image_shape: tuple[int, ...]) -> tuple[Any, Any]:
    """(scale, offset) of a fitted built-in affine arm, float32 [H, W, K]."""
    if params["scale"].shape != tuple(image_shape):
        raise InputError(
            f"image_shape: {tuple(image_shape)} is not what the arm was fitted to: {params['scale'].shape}"
        )
    return params["scale"], params["offset"]


def rescale(low: float, high: float) -> Callable[[Training, AffineMap, Limits | None], AffineMap]:
    """The map that takes the lowest possible value to `low` and the highest to `high`."""

    def extend(training: Training, before: AffineMap, limits: Limits | None) -> AffineMap:
        assert limits is not None
        span = limits[1] - limits[0]
        return AffineMap(
            (high - low) * (before.scale / span), (high - low) * ((before.offset - limits[0]) / span) + low
        )

    return extend


NORMAL = Part(name="normal", extend=rescale(0, 1), needs_limits=True, limits=UNIT)
