"""What a model is to the rest of jaxinv: pure functions over dictionaries of arrays, bound to one shape of images."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax.errors import FlaxError

from jaxinv.errors import FAILURES, InputError, first_line

Params = dict[str, Any]
State = dict[str, Any]
ImageShape = tuple[int, int, int]
FoldRefusal = Callable[[Any, Any], str | None]


class Init(Protocol):
    """(key, (H, W, K), C) -> (params, state)."""

    def __call__(self, key: jax.Array, image_shape: ImageShape, classes: int) -> tuple[Params, State]: ...


class Apply(Protocol):
    """(params, state, images [B, H, W, K]) -> (logits [B, C], new state)."""

    def __call__(
        self, params: Params, state: State, images: jax.Array, *, train: bool, key: jax.Array | None
    ) -> tuple[jax.Array, State]: ...


BoundInit = Callable[[jax.Array], tuple[Params, State]]
Build = Callable[[ImageShape, int], tuple[BoundInit, Apply]]
Restore = Callable[[ImageShape, int, Params, State], Any]
Recompute = Callable[[ImageShape, int, Params, State, jax.Array], State]


@dataclass(frozen=True, eq=False)
class Model:
    """A network as pure functions, fit for `jit`, `vmap`, `scan` and `eval_shape`.

    Attributes:
        name: what results, tables and plots call it.
        init: `(key, image_shape, classes) -> (params, state)`, both plain dictionaries of arrays. `params` is what the
            optimizer trains; `state` is what else changes from step to step (batch statistics), `{}` if nothing does.
        apply: `(params, state, images, *, train, key) -> (logits, new_state)`. `train` is a Python bool. `key` feeds
            dropout and the like; it may be None where nothing random happens, as in every evaluation.
        fold: None, or `(params, scale, offset) -> params` with
            `apply(fold(p, s, o), state, x) == apply(p, state, s * x + o)` for every x; scale and offset are [H, W, K].
        fold_refusal: None, or `(scale, offset) -> reason`: why the identity above cannot hold for this scale and
            offset (concrete arrays), or None if it holds.
        pixel_weights: None, or `(params, image_shape) -> [H, W, K, outputs]`: the first layer's weights, where each
            reads one pixel directly.
        select_pixels: None, or `(params, pixels) -> params` with
            `apply(select_pixels(p, i), state, x[:, i, None, None]) == apply(p, state, x.reshape(-1, H, W, K))` for all
            x [B, H*W*K] that are 0 in every other pixel; i is an array of indices or a slice. Evaluation then leaves
            out pixels that are 0 in many test images; the model must take images of shape (n, 1, 1).
        recompute: None, or `(image_shape, classes, params, state, images) -> state`: the state with statistics of these
            images in place of running averages, as evaluation uses them.
        build: None, or `(image_shape, classes) -> (init, apply)`, both for that shape alone: for networks that are
            objects made for a shape, such as flax modules. `bind` then takes these.
        built_in: whether `apply` takes images in bfloat16 too, which hold grey values exactly, and computes with them
            as with the same numbers in float32; and `fold` takes a scale [1, 1, 1] that stands for all pixels.
        restore: None, or `(image_shape, classes, params, state) -> module`: the object itself, with these arrays in it.
    """

    name: str
    init: Init
    apply: Apply
    fold: Callable[[Params, jax.Array, jax.Array], Params] | None = None
    fold_refusal: FoldRefusal | None = None
    pixel_weights: Callable[[Params, ImageShape], jax.Array] | None = None
    select_pixels: Callable[[Params, Any], Params] | None = None
    build: Build | None = None
    restore: Restore | None = None
    recompute: Recompute | None = field(default=None, metadata={"later": True})
    built_in: bool = field(default=False, metadata={"later": True})

    def bind(self, image_shape: ImageShape, classes: int) -> "BoundModel":
        """The network for images [B, H, W, K] of one shape and one number of classes; the same object each time."""
        return _bind(self, tuple(image_shape), classes)


@dataclass(frozen=True, eq=False)
class BoundModel:
    """A model for images of one shape and one number of classes.

    Attributes:
        model: what it was bound from.
        image_shape, classes: (H, W, K) and C.
        init: `key -> (params, state)`.
        apply: as `Model.apply`.
    """

    model: Model
    image_shape: ImageShape
    classes: int
    init: BoundInit
    apply: Apply

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def built_in(self) -> bool:
        return self.model.built_in

    def refuses_fold(self, scale: Any, offset: Any) -> str | None:
        """Why the first layer cannot take in scale * x + offset exactly; None where it can."""
        if self.model.fold is None:
            return "its first layer does not say how it takes in a scale and an offset"
        return None if self.model.fold_refusal is None else self.model.fold_refusal(scale, offset)

    def fold(self, params: Params, scale: jax.Array, offset: jax.Array) -> Params:
        """The parameters that read x as `params` read scale * x + offset."""
        assert self.model.fold is not None
        scale = scale if self.model.built_in else jnp.broadcast_to(scale, self.image_shape)
        return self.model.fold(params, scale, offset)

    def pixel_weights(self, params: Params) -> jax.Array | None:
        """The first layer's weights [H, W, K, outputs]; None where they do not read pixels directly."""
        return None if self.model.pixel_weights is None else self.model.pixel_weights(params, self.image_shape)

    def select_pixels(self, params: Params, pixels: Any) -> Params:
        """The parameters that read these pixels alone."""
        assert self.model.select_pixels is not None
        return self.model.select_pixels(params, pixels)

    @property
    def has_state(self) -> bool:
        """Whether anything but the parameters changes from step to step."""
        return bool(jax.tree.leaves(jax.eval_shape(self.init, jax.random.key(0))[1]))

    def recompute(self, params: Params, state: State, images: jax.Array) -> State:
        """The state with statistics of these images [B, H, W, K] in place of running averages."""
        assert self.model.recompute is not None
        return self.model.recompute(self.image_shape, self.classes, params, state, images)

    def of_pixels(self, count: int) -> "BoundModel":
        """The same network for images of `count` pixels, [B, count, 1, 1], as `select_pixels` needs it."""
        return self.model.bind((count, 1, 1), self.classes)


@lru_cache(maxsize=256)
def _bind(model: Model, image_shape: ImageShape, classes: int) -> BoundModel:
    if model.build is not None:
        init, apply = model.build(image_shape, classes)
    else:
        init, apply = lambda key: model.init(key, image_shape, classes), model.apply
    return BoundModel(model, image_shape, classes, init, apply)


@lru_cache(maxsize=256)
def check_model(model: Model, image_shape: ImageShape, classes: int) -> BoundModel:
    """The model, bound; refused unless it takes such images to logits [B, C] and keeps the form of its state.

    Nothing is computed: the model is only traced.

    Raises:
        InputError: in one line, what does not fit.
    """
    where = f"model: {model.name!r} on images of shape {tuple(image_shape)}"
    try:
        bound = model.bind(image_shape, classes)

        def trace(key: jax.Array) -> Any:
            params, state = bound.init(key)
            images = jnp.zeros((2, *image_shape), jnp.float32)
            evaluated = bound.apply(params, state, images, train=False, key=None)
            return state, (evaluated, bound.apply(params, state, images, train=True, key=key))

        before, outcomes = jax.eval_shape(trace, jax.random.key(0))
    except InputError:
        raise
    except (*FAILURES, FlaxError) as problem:
        raise InputError(f"{where}: {first_line(problem)}") from problem
    for logits, after in outcomes:
        if getattr(logits, "shape", None) != (2, classes):
            found = getattr(logits, "shape", type(logits).__name__)
            raise InputError(f"{where} returns logits {found} for 2 images of {classes} classes; give {(2, classes)}")
        if jax.tree.map(_form, after) != jax.tree.map(_form, before):
            raise InputError(
                f"{where} changes the structure, shapes or types of its state between init and apply; "
                "give functions that keep them"
            )
    return bound


def _form(leaf: Any) -> tuple[tuple[int, ...], Any]:
    return leaf.shape, leaf.dtype
