"""`Preprocess`, the two functions that an arm is, and what `+` between arms means.

Composition
-----------
`a+b` runs left to right: b is fitted to, and reads, what a gives for the training images. Two rules settle the units:

1. **In the first place** an arm is given the stored grey values, 0 to 255. One that is defined on 0 to 1 acts there as
   if `normal+` stood before it: `pixel_mean` is `normal+pixel_mean`. (`raw` and `image_standardize` read the grey
   values themselves, and so does an arm of a user's own; to `lcn`, `zca` and z-scores the unit makes no difference.)
2. **Behind another arm** it takes that arm's values as they are: `raw+pixel_mean` subtracts the mean image in grey
   values, `signed+pixel_mean` the mean of the signed images.

`raw`, `normal`, `inverted`, `signed` and `histogram` say what becomes of black and white, so they have to know which
values those are: behind an arm with known limits [a, b] they read (x − a)/(b − a). `inverted+inverted` is `normal`,
`signed+inverted` is `inverted`, `inverted+raw` is 255 − x. Behind an arm that leaves its limits open they mean nothing
and are refused (`pixel_mean+inverted`).

Neighbouring affine arms become one affine map, fitted to the moments of the stored grey values in float64 and rounded
to float32 once. So fitting copies no data, nothing is lost on the way, and `inverted+pixel_mean` is `pixel_mean` with
every sign flipped, to the last bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxinv.errors import InputError
from jaxinv.preprocess.training import AffineMap, Training, apply_affine, check_images, run, stored

Limits = tuple[float, float]
Extend = Callable[[Training, AffineMap | None, Limits | None], AffineMap]
GREY: Limits = (0.0, 255.0)
UNIT: Limits = (0.0, 1.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """One link of a composition: `extend` for an affine arm, `fit` and `apply` for any other.

    extend: (training, map so far, limits so far) -> the map with this arm behind it
    fit: (training, affine map between the training images and this arm) -> parameters
    apply: (parameters, images) -> images
    """

    name: str
    extend: Extend | None = None
    fit: Callable[[Training, AffineMap | None], Any] = lambda training, before: ()
    apply: Callable[[Any, Any], Any] = apply_affine
    reads_unit: bool = False  # in the first place, `normal` stands before it
    needs_limits: bool = False
    scales: bool = False  # divides by spreads that can be small: its map is stored about the mean
    limits: Limits | None = None  # of what it gives
    own: bool = False  # a user's
    doc: str = ""


@dataclass(frozen=True, eq=False)
class Preprocess:
    """A way to present images to a network: `fit` to the training images alone, then `apply` to any images.

    fit: images [N, H, W, K] -> params, any pytree of arrays. The images are the stored uint8 grey values, or float32
        behind another arm.
    apply: (params, images [N, H, W, K]) -> floats [N, H, W, K]; pure, traceable by `jax.jit`, and image by image: what
        it gives for one must not depend on the rest of the batch.
    name: what results call the arm.
    affine: for an arm that is s∘x + o pixel by pixel: (params, (H, W, K)) -> (s, o), both float32 [H, W, K]. It costs
        next to nothing where the first layer is linear: s and o are folded into that layer, which reads stored pixels.
    description: one line for listings.
    limits: the lowest and the highest value that `apply` can give, where they are known; only then can `inverted` and
        its kin stand behind the arm.

    `a + b` is a, then b.

    >>> import jax.numpy as jnp
    >>> from jaxinv.preprocess import get_arm, transform
    >>> def brighten(params, images):
    ...     return jnp.sqrt(images / 255.0)
    >>> arm = Preprocess(lambda images: (), brighten, "bright", limits=(0, 1)) + get_arm("inverted")
    >>> arm.name
    'bright+inverted'
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
    parts: tuple[Part, ...] = field(default=(), repr=False)  # of built-in arms and compositions

    def __post_init__(self) -> None:
        for role, value in (("fit", self.fit), ("apply", self.apply), ("affine", self.affine)):
            if not callable(value) and not (role == "affine" and value is None):
                raise InputError(f"{role}: {value!r} cannot be called; allowed: a function")
        if not isinstance(self.name, str) or not self.name.isprintable() or not self.name.strip():
            raise InputError(f"name: {self.name!r} cannot name an arm; allowed: a line of text")
        if "+" in self.name and not self.parts:
            raise InputError(f"name: {self.name!r} holds a '+', which stands between the arms of a composition")
        if self.limits is not None and not self.limits[0] < self.limits[1]:
            raise InputError(f"limits: {self.limits!r}; allowed: a value and a higher one, or None")

    @property
    def built_in(self) -> bool:
        """Whether no part of it is a user's own."""
        return bool(self.parts) and not any(part.own for part in self.parts)

    def __add__(self, other: "Preprocess") -> "Preprocess":
        if not isinstance(other, Preprocess):
            return NotImplemented
        return compose(parts_of(self) + parts_of(other))


def parts_of(arm: Preprocess) -> tuple[Part, ...]:
    """The links of a composition; an arm of a user's own is one."""
    if arm.parts:
        return arm.parts
    if arm.affine is None:

        def fit(training: Training, before: AffineMap | None) -> Any:
            return arm.fit(training.under(before))

        return (Part(name=arm.name, fit=fit, apply=arm.apply, limits=arm.limits, own=True),)

    def extend(training: Training, before: AffineMap | None, limits: Limits | None) -> AffineMap:
        scale, offset = own_affine(arm, arm.fit(training.under(before)), training.image_shape)
        before = training.start(before)
        return AffineMap(scale * before.scale, scale * before.offset + offset)

    return (Part(name=arm.name, extend=extend, limits=arm.limits, own=True),)


def own_affine(arm: Preprocess, params: Any, image_shape: tuple[int, ...]) -> AffineMap:
    """The scale and offset that an arm of a user's own names, if they are [H, W, K]."""
    assert arm.affine is not None
    pair = arm.affine(params, image_shape)  # pyright: ignore[reportArgumentType]
    if not isinstance(pair, tuple) or [np.shape(array) for array in pair] != [image_shape, image_shape]:
        found = [np.shape(array) for array in pair] if isinstance(pair, tuple) else type(pair).__name__
        raise InputError(
            f"arms: {arm.name!r} has an affine that gives {found}; allowed: scale and offset {image_shape}"
        )
    return AffineMap(np.asarray(pair[0], np.float64), np.asarray(pair[1], np.float64))


class Step:
    """A run of neighbouring affine parts, merged into one map, or one part of another kind."""

    def __init__(self, part: Part, limits: Limits | None) -> None:
        self.parts = [part]
        self.limits = limits  # of what comes in
        self.affine = part.extend is not None
        self.apply = apply_affine if self.affine else part.apply

    def map(self, training: Training) -> AffineMap:
        so_far, limits = None, self.limits
        for part in self.parts:
            assert part.extend is not None
            so_far, limits = part.extend(training, so_far, limits), part.limits
        return training.start(so_far)

    def about(self, training: Training) -> np.ndarray | float:
        return training.moments.mean if any(part.scales for part in self.parts) else 0.0


def steps_of(parts: Sequence[Part]) -> list[Step]:
    """The parts in as few steps as possible; refuses an arm whose place makes no sense."""
    steps: list[Step] = []
    limits: Limits | None = GREY
    for i, part in enumerate(parts):
        if part.needs_limits and limits is None:
            raise InputError(
                f"arms: {'+'.join(p.name for p in parts)!r}: {part.name!r} has to know which values are black and "
                f"which white, and {parts[i - 1].name!r} leaves that open; allowed: {part.name!r} in the first place "
                "or behind an arm with known limits"
            )
        unit_first = (part.reads_unit and i == 0) or (part.needs_limits and part.extend is None)
        for link in (NORMAL, part) if unit_first else (part,):
            if link.extend is not None and steps and steps[-1].affine:
                steps[-1].parts.append(link)
            else:
                steps.append(Step(link, limits))
            limits = link.limits
    return steps


def compose(parts: Sequence[Part], description: str = "") -> Preprocess:
    """The arm that runs `parts` left to right."""
    parts = tuple(parts)
    name = "+".join(part.name for part in parts)
    steps = steps_of(parts)

    def fit(images: Any) -> Any:
        return fit_parts(parts, training_on(images))

    def apply(params: Any, images: Any) -> Any:
        for step, step_params in zip(steps, params, strict=True):
            images = step.apply(step_params, images)
        return images

    one = len(steps) == 1
    affine = read_affine if one and steps[0].affine else None
    return Preprocess(fit, steps[0].apply if one else apply, name, affine, description, parts[-1].limits, parts)


def training_on(images: Any) -> Training:
    images = check_images(images, "training images")
    if len(images) == 0:
        raise InputError("training images: there are none; allowed: at least 1 image to fit an arm to")
    return Training(images, images.shape[1:])


def fit_parts(parts: Sequence[Part], training: Training) -> Any:
    """One step's parameters, or a tuple with those of each step."""
    steps, params = steps_of(parts), []
    before: AffineMap | None = None  # affine step whose images have not been computed
    for step in steps:
        if step.affine:
            before = step.map(training)
            params.append(stored(before, step.about(training)))
        else:
            params.append(step.parts[0].fit(training, before))
            training, before = behind(training, before, step, params[-1]), None
    return params[0] if len(steps) == 1 else tuple(params)


def behind(training: Training, before: AffineMap | None, step: Step, params: Any) -> Training:
    """The training images as the next arm finds them; computed only if it looks."""
    return Training(lambda: run(step.apply, params, training.under(before)), training.image_shape)


def read_affine(params: dict[str, Any], image_shape: tuple[int, ...]) -> tuple[Any, Any]:
    """(scale, offset) of a fitted built-in affine arm, float32 [H, W, K]."""
    if params["scale"].shape != tuple(image_shape):
        raise InputError(f"image_shape: {tuple(image_shape)}; the arm was fitted to {params['scale'].shape}")
    return params["scale"], params["offset"]


def rescale(training: Training, before: AffineMap | None, limits: Limits | None, low: float, high: float) -> AffineMap:
    """Take the lowest possible value to `low` and the highest to `high`."""
    assert limits is not None
    before, span = training.start(before), limits[1] - limits[0]
    return AffineMap((high - low) * (before.scale / span), (high - low) * ((before.offset - limits[0]) / span) + low)


def normal(training: Training, before: AffineMap | None, limits: Limits | None) -> AffineMap:
    """Grey values divided by 255: black 0, white 1.

    Formula: x/255
    Source: TensorFlow's MNIST tutorial, input_data.py
    """
    return rescale(training, before, limits, 0, 1)


def affine_part(extend: Extend, **flags: Any) -> Part:
    """The affine arm that a function describes; its name and its docstring are the function's."""
    return Part(name=extend.__name__, extend=extend, doc=extend.__doc__ or "", **flags)


NORMAL = affine_part(normal, needs_limits=True, limits=UNIT)
