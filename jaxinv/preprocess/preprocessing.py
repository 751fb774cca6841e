"""`Preprocess`, the two functions that a preprocessing is, and what `+` between preprocessings means.

Composition
-----------
`a+b` runs left to right: b is fitted to, and reads, what a gives for the training images. Two rules settle the units:

1. **In the first place** a preprocessing is given the stored grey values, 0 to 255. One that is defined on 0 to 1 acts
   there as if `normal+` stood before it: `pixel_mean` is `normal+pixel_mean`. (`raw` and `image_standardize` read the
   grey values themselves, and so does a user's own preprocessing; to `lcn`, `zca` and z-scores the unit makes no
   difference.)
2. **Behind another preprocessing** it takes that one's values as they are: `raw+pixel_mean` subtracts the mean image
   in grey values, `signed+pixel_mean` the mean of the signed images.

`raw`, `normal`, `inverted`, `signed` and `histogram` say what becomes of black and white, so they have to know which
values those are: behind a preprocessing with known limits [a, b] they read (x − a)/(b − a). `inverted+inverted` is
`normal`, `signed+inverted` is `inverted`, `inverted+raw` is 255 − x. Behind one that leaves its limits open they mean
nothing and are refused (`pixel_mean+inverted`).

Neighbouring affine components become one affine map, fitted to the moments of the stored grey values in float64 and
rounded to float32 once. So fitting copies no data, nothing is lost on the way, and `inverted+pixel_mean` is
`pixel_mean` with every sign flipped, to the last bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxinv.errors import InputError
from jaxinv.preprocess.slabs import apply_in_slabs
from jaxinv.preprocess.training_images import AffineMap, TrainingImages, affine_params, apply_affine

Limits = tuple[float, float]
ExtendMap = Callable[[TrainingImages, AffineMap | None, Limits | None], AffineMap]
GREY: Limits = (0.0, 255.0)
UNIT: Limits = (0.0, 1.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Component:
    """What stands between two `+` of a composition: `extend` if it is affine, else `fit` and `apply`.

    extend: (training images, affine map before it, limits before it) -> the map with this component behind it
    fit: (training images, affine map between them and this component) -> parameters
    apply: (parameters, images) -> images
    """

    name: str
    extend: ExtendMap | None = None
    fit: Callable[[TrainingImages, AffineMap | None], Any] = lambda training, before: ()
    apply: Callable[[Any, Any], Any] = apply_affine
    reads_unit: bool = False  # in the first place, `normal` stands before it
    needs_limits: bool = False
    standardizes: bool = False  # divides by spreads that can be small: its parameters are centred at the mean
    limits: Limits | None = None  # of its values
    custom: bool = False  # a user's own
    doc: str = ""


@dataclass(frozen=True, eq=False)
class Preprocess:
    """A way to present images to a network: `fit` to the training images alone, then `apply` to any images.

    Attributes:
      fit: images [N, H, W, K] -> params, any pytree of arrays. The images are the stored uint8 grey values, or float32
          behind another preprocessing.
      apply: (params, images [N, H, W, K]) -> floats [N, H, W, K]; pure, traceable by `jax.jit`, and image by image:
          what it gives for one must not depend on the rest of the batch.
      name: what results call it.
      affine: where `apply` is s∘x + o pixel by pixel: (params, (H, W, K)) -> (s, o), both float32 [H, W, K]. It costs
          next to nothing where the first layer is linear: s and o are folded into that layer, which reads stored
          pixels.
      description: one line for listings.
      limits: the lowest and the highest value that `apply` can give, where they are known; only then can `inverted` and
          its kin stand behind it.

    `a + b` is a, then b.

    >>> import jax.numpy as jnp
    >>> from jaxinv.preprocess import get_preprocess, transform
    >>> def brighten(params, images):
    ...     return jnp.sqrt(images / 255.0)
    >>> bright = Preprocess(lambda images: (), brighten, "bright", limits=(0, 1)) + get_preprocess("inverted")
    >>> bright.name
    'bright+inverted'
    >>> images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    >>> transform(bright, bright.fit(images), images).ravel()
    array([1., 0.], dtype=float32)
    """

    fit: Callable[[Any], Any]
    apply: Callable[[Any, Any], Any]
    name: str = "custom"
    affine: Callable[[Any, tuple[int, int, int]], tuple[Any, Any]] | None = None
    description: str = ""
    limits: Limits | None = None
    components: tuple[Component, ...] = field(default=(), repr=False)  # of a built-in one, or of a composition

    def __post_init__(self) -> None:
        for role, value in (("fit", self.fit), ("apply", self.apply), ("affine", self.affine)):
            if not callable(value) and not (role == "affine" and value is None):
                raise InputError(f"{role}: {value!r} is not allowed; give a function")
        if not isinstance(self.name, str) or not self.name.isprintable() or not self.name.strip():
            raise InputError(f"name: {self.name!r} is not allowed; give a line of text")
        if "+" in self.name and not self.components:
            raise InputError(f"name: {self.name!r} is not allowed; give a name without '+', which composes")
        if self.limits is not None and not self.limits[0] < self.limits[1]:
            raise InputError(f"limits: {self.limits!r} is not allowed; give a value and a higher one, or None")

    @property
    def built_in(self) -> bool:
        """Whether no component of it is a user's own."""
        return bool(self.components) and not any(component.custom for component in self.components)

    def __add__(self, other: "Preprocess") -> "Preprocess":
        if not isinstance(other, Preprocess):
            return NotImplemented
        return compose(components_of(self) + components_of(other))


def compose(components: Sequence[Component], description: str = "") -> Preprocess:
    """The preprocessing that runs the components left to right."""
    components = tuple(components)
    name = "+".join(component.name for component in components)
    stages = stages_of(components)

    def fit(images: Any) -> Any:
        return fit_components(components, TrainingImages.stored(images))

    def apply(params: Any, images: Any) -> Any:
        for stage, stage_params in zip(stages, params, strict=True):
            images = stage.apply(stage_params, images)
        return images

    single = len(stages) == 1
    affine = scale_and_offset if single and stages[0].affine else None
    limits = components[-1].limits
    return Preprocess(fit, stages[0].apply if single else apply, name, affine, description, limits, components)


def fit_components(components: Sequence[Component], training: TrainingImages) -> Any:
    """The parameters of each stage in a tuple; of a single stage, its own."""
    stages, params = stages_of(components), []
    before: AffineMap | None = None  # of the last stage, if it is affine: its images are computed only where needed
    for stage in stages:
        if stage.affine:
            before = stage.fit_map(training)
            params.append(affine_params(before, stage.center(training)))
        else:
            params.append(stage.components[0].fit(training, before))
            training, before = training_images_behind(stage, params[-1], training, before), None
    return params[0] if len(stages) == 1 else tuple(params)


def training_images_behind(
    stage: "Stage", params: Any, training: TrainingImages, before: AffineMap | None
) -> TrainingImages:
    """The training images as the next stage reads them; computed when it asks for them."""
    return TrainingImages(lambda: apply_in_slabs(stage.apply, params, training.mapped(before)), training.image_shape)


class Stage:
    """What runs in one go: neighbouring affine components merged into one map, or one component of another kind."""

    def __init__(self, component: Component, limits: Limits | None) -> None:
        self.components = [component]
        self.limits = limits  # of the values that it reads
        self.affine = component.extend is not None
        self.apply = apply_affine if self.affine else component.apply

    def fit_map(self, training: TrainingImages) -> AffineMap:
        """The affine map of all its components."""
        merged, limits = None, self.limits
        for component in self.components:
            assert component.extend is not None
            merged, limits = component.extend(training, merged, limits), component.limits
        return training.map_or_identity(merged)

    def center(self, training: TrainingImages) -> np.ndarray | float:
        return training.moments.mean if any(component.standardizes for component in self.components) else 0.0


def stages_of(components: Sequence[Component]) -> list[Stage]:
    """The components in as few stages as possible; refuses one whose place makes no sense."""
    stages: list[Stage] = []
    limits: Limits | None = GREY
    for i, component in enumerate(components):
        if component.needs_limits and limits is None:
            raise InputError(
                f"arms: {'+'.join(c.name for c in components)!r} is not allowed: {component.name!r} has to know which "
                f"values are black and white, and {components[i - 1].name!r} leaves that open; give "
                f"{component.name!r} in the first place, or behind a preprocessing with known limits"
            )
        normal_first = (component.reads_unit and i == 0) or (component.needs_limits and component.extend is None)
        for link in (NORMAL, component) if normal_first else (component,):
            if link.extend is not None and stages and stages[-1].affine:
                stages[-1].components.append(link)
            else:
                stages.append(Stage(link, limits))
            limits = link.limits
    return stages


def components_of(preprocess: Preprocess) -> tuple[Component, ...]:
    """The components of a composition; a user's own preprocessing is one."""
    if preprocess.components:
        return preprocess.components
    if preprocess.affine is None:

        def fit(training: TrainingImages, before: AffineMap | None) -> Any:
            return preprocess.fit(training.mapped(before))

        return (
            Component(name=preprocess.name, fit=fit, apply=preprocess.apply, limits=preprocess.limits, custom=True),
        )

    def extend(training: TrainingImages, before: AffineMap | None, limits: Limits | None) -> AffineMap:
        params = preprocess.fit(training.mapped(before))
        scale, offset = custom_affine_map(preprocess, params, training.image_shape)
        before = training.map_or_identity(before)
        return AffineMap(scale * before.scale, scale * before.offset + offset)

    return (Component(name=preprocess.name, extend=extend, limits=preprocess.limits, custom=True),)


def custom_affine_map(preprocess: Preprocess, params: Any, image_shape: tuple[int, ...]) -> AffineMap:
    """The scale and offset that a user's own preprocessing names, if they are [H, W, K]."""
    assert preprocess.affine is not None
    pair = preprocess.affine(params, image_shape)  # pyright: ignore[reportArgumentType]
    if not isinstance(pair, tuple) or [np.shape(array) for array in pair] != [image_shape, image_shape]:
        found = [np.shape(array) for array in pair] if isinstance(pair, tuple) else type(pair).__name__
        raise InputError(
            f"arms: {preprocess.name!r} has an affine that gives {found}; give scale and offset {image_shape}"
        )
    return AffineMap(np.asarray(pair[0], np.float64), np.asarray(pair[1], np.float64))


def scale_and_offset(params: dict[str, Any], image_shape: tuple[int, ...]) -> tuple[Any, Any]:
    """`affine` of the built-in affine preprocessings: (scale, offset), float32 [H, W, K]."""
    fitted = params["scale"].shape
    if fitted != tuple(image_shape):
        raise InputError(f"image_shape: {tuple(image_shape)} is not allowed; give {fitted}, which it was fitted to")
    return params["scale"], params["offset"]


def rescale(
    training: TrainingImages, before: AffineMap | None, limits: Limits | None, low: float, high: float
) -> AffineMap:
    """Take the lowest possible value to `low` and the highest to `high`."""
    assert limits is not None
    before, span = training.map_or_identity(before), limits[1] - limits[0]
    return AffineMap((high - low) * (before.scale / span), (high - low) * ((before.offset - limits[0]) / span) + low)


def normal(training: TrainingImages, before: AffineMap | None, limits: Limits | None) -> AffineMap:
    """Grey values divided by 255: black 0, white 1.

    Formula: x/255
    Source: TensorFlow's MNIST tutorial, input_data.py
    """
    return rescale(training, before, limits, 0, 1)


def affine_component(extend: ExtendMap, **flags: Any) -> Component:
    """The affine component that a function describes; its name and its docstring are the function's."""
    return Component(name=extend.__name__, extend=extend, doc=extend.__doc__ or "", **flags)


NORMAL = affine_component(normal, needs_limits=True, limits=UNIT)
