"""Flax modules as `Model`s."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen, nnx
from flax.core import unfreeze

from jaxinv.errors import InputError
from jaxinv.models.layers import BatchNorm
from jaxinv.models.model import (
    Apply,
    BoundInit,
    Build,
    FoldRefusal,
    ImageShape,
    Model,
    Params,
    Recompute,
    Restore,
    State,
)

Constructor = Callable[[ImageShape, int, nnx.Rngs], nnx.Module]
Fold = Callable[[Params, jax.Array, jax.Array], Params]
PixelWeights = Callable[[Params, ImageShape], jax.Array]
SelectPixels = Callable[[Params, Any], Params]

#: Where `fold` may leave what the first layer must add when it has no bias of a fitting shape to hold it.
OFFSET = "folded_offset"
#: Where `fold` may leave one number that the first layer must multiply its product by.
SCALE = "folded_scale"


class _Graphs(NamedTuple):
    """The static halves of an nnx module."""

    training: nnx.GraphDef
    evaluating: nnx.GraphDef
    random: nnx.State  # what its random streams look like: shapes, never values


def _split(module: nnx.Module) -> tuple[nnx.GraphDef, Params, nnx.State, State]:
    """Graph, parameters, random streams, and all other state but what was only noted down in passing (`sow`)."""
    graph, params, random, _, rest = nnx.split(module, nnx.Param, nnx.RngState, nnx.Intermediate, ...)
    return graph, nnx.to_pure_dict(params), random, nnx.to_pure_dict(rest)


def _unfolded(params: Params) -> tuple[Params, dict[str, jax.Array]]:
    """A module's own parameters; and, by the words of its call, what `fold` has left beside them."""
    left = {word: params[part] for part, word in ((OFFSET, "offset"), (SCALE, "scale")) if part in params}
    return {part: value for part, value in params.items() if part not in (OFFSET, SCALE)}, left


def _reseeded(random: nnx.State, key: jax.Array) -> nnx.State:
    """Every stream of random numbers begun anew from `key`, each a different one."""

    def fresh(i: int, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jnp.zeros(leaf.shape, leaf.dtype)  # how often the stream was read
        stream = jax.random.fold_in(key, i)
        return jax.random.split(stream, leaf.shape) if leaf.shape else stream

    leaves, structure = jax.tree.flatten(random)
    return jax.tree.unflatten(structure, [fresh(i, leaf) for i, leaf in enumerate(leaves)])


def from_nnx(
    constructor: Constructor,
    *,
    name: str | None = None,
    fold: Fold | None = None,
    fold_refusal: FoldRefusal | None = None,
    pixel_weights: PixelWeights | None = None,
    select_pixels: SelectPixels | None = None,
    built_in: bool = False,
) -> Model:
    """A `Model` from a flax nnx module.

    Dropout and batch normalisation work as nnx has them: the module is switched by its `train()` and `eval()`, batch
    statistics are carried from step to step, and every random stream begins anew from the step's key. Beware of flax's
    `BatchNorm` with its default momentum of 0.99: after 50 updates its running averages still hold 60 % of their
    starting values, and evaluation with them means little; give it 0.9, or use `jaxinv.models.BatchNorm`. Convolutions
    train an order of magnitude faster with `conv_general_dilated=jaxinv.models.im2col.conv_general_dilated`.

    Args:
        constructor: `(image_shape, classes, rngs) -> nnx.Module`; the module is called on images [B, H, W, K] (float)
            and returns logits [B, C].
        name: what results call it; the constructor's own name if not given.
        fold, fold_refusal, pixel_weights, select_pixels, built_in: see `Model`. Without `fold`, every
            preprocessing is applied to the images themselves.

    Raises:
        InputError: by the bound model's `apply`: no key where training needs one.

    >>> class Linear(nnx.Module):
    ...     def __init__(self, image_shape, classes, rngs):
    ...         self.layer = nnx.Linear(image_shape[0] * image_shape[1] * image_shape[2], classes, rngs=rngs)
    ...     def __call__(self, images):
    ...         return self.layer(images.reshape(len(images), -1))
    >>> model = from_nnx(Linear)
    >>> network = model.bind((2, 2, 1), 3)
    >>> params, state = network.init(jax.random.key(0))
    >>> logits, state = network.apply(params, state, jnp.ones((5, 2, 2, 1)), train=False, key=None)
    >>> model.name, logits.shape
    ('Linear', (5, 3))
    """
    label = name or _name(constructor)

    def parts(image_shape: ImageShape, classes: int, key: jax.Array) -> tuple[_Graphs, Params, State]:
        module = constructor(image_shape, classes, nnx.Rngs(key))
        module.eval()
        evaluating, *_ = _split(module)
        module.train()
        training, params, random, state = _split(module)
        return _Graphs(training, evaluating, random), params, state

    def graphs_of(image_shape: ImageShape, classes: int) -> _Graphs:
        return jax.eval_shape(partial(parts, image_shape, classes), jax.random.key(0))[0]

    def restore(image_shape: ImageShape, classes: int, params: Params, state: State) -> nnx.Module:
        graphs = graphs_of(image_shape, classes)
        random = _reseeded(graphs.random, jax.random.key(0))
        return nnx.merge(graphs.evaluating, nnx.State(params), random, nnx.State(state))

    def build(image_shape: ImageShape, classes: int) -> tuple[BoundInit, Apply]:
        graphs = graphs_of(image_shape, classes)

        def init(key: jax.Array) -> tuple[Params, State]:
            return parts(image_shape, classes, key)[1:]

        def apply(
            params: Params, state: State, images: jax.Array, *, train: bool, key: jax.Array | None
        ) -> tuple[jax.Array, State]:
            if train and key is None and jax.tree.leaves(graphs.random):
                raise InputError(f"model: {label!r} needs a key to be trained, for its random numbers; give one")
            params, folded = _unfolded(params)
            random = _reseeded(graphs.random, jax.random.key(0) if key is None else key)
            graph = graphs.training if train else graphs.evaluating
            module: Any = nnx.merge(graph, nnx.State(params), random, nnx.State(state))
            return module(images, **folded), _split(module)[-1]

        return init, apply

    def recompute(image_shape: ImageShape, classes: int, params: Params, state: State, images: jax.Array) -> State:
        graphs = graphs_of_statistics(image_shape, classes)
        params, folded = _unfolded(params)
        random = _reseeded(graphs.random, jax.random.key(0))
        module: Any = nnx.merge(graphs.evaluating, nnx.State(params), random, nnx.State(state))
        module(images, **folded)
        return _split(module)[-1]

    def graphs_of_statistics(image_shape: ImageShape, classes: int) -> _Graphs:
        """The module in evaluation, but for batch normalisation, which takes a batch's statistics as they are."""

        def made(key: jax.Array) -> _Graphs:
            module = constructor(image_shape, classes, nnx.Rngs(key))
            module.eval()
            for _, part in nnx.iter_graph(module):
                if isinstance(part, (nnx.BatchNorm, BatchNorm)):
                    part.momentum, part.use_running_average = 0.0, False
            evaluating, _, random, _ = _split(module)
            return _Graphs(evaluating, evaluating, random)

        return jax.eval_shape(made, jax.random.key(0))

    return _built(label, build, fold, fold_refusal, pixel_weights, select_pixels, restore, recompute, built_in)


#: How a linen module may ask whether it is being trained, and what to answer.
_MODES: dict[str, Callable[[bool], bool]] = {
    "train": lambda train: train,
    "training": lambda train: train,
    "is_training": lambda train: train,
    "deterministic": lambda train: not train,
    "use_running_average": lambda train: not train,
}


def from_linen(
    module: linen.Module | Callable[[int], linen.Module],
    *,
    name: str | None = None,
    fold: Fold | None = None,
    fold_refusal: FoldRefusal | None = None,
    pixel_weights: PixelWeights | None = None,
    select_pixels: SelectPixels | None = None,
) -> Model:
    """A `Model` from a flax linen module.

    Its "params" are trained; its other collections ("batch_stats") are carried from step to step. If `__call__` has an
    argument named train, training, is_training, deterministic or use_running_average, it is told; random numbers
    ("dropout" and any other) come from the step's key. What `from_nnx` says of batch normalisation and convolutions
    holds here too.

    Args:
        module: called on images [B, H, W, K] (float), returns logits [B, C]; or a function of C that makes one.
        name, fold, fold_refusal, pixel_weights, select_pixels: see `from_nnx`.

    Raises:
        InputError: as for `from_nnx`.

    >>> class Linear(linen.Module):
    ...     classes: int
    ...     @linen.compact
    ...     def __call__(self, images):
    ...         return linen.Dense(self.classes)(images.reshape(len(images), -1))
    >>> model = from_linen(Linear)
    >>> network = model.bind((2, 2, 1), 3)
    >>> params, state = network.init(jax.random.key(0))
    >>> logits, state = network.apply(params, state, jnp.ones((5, 2, 2, 1)), train=False, key=None)
    >>> model.name, logits.shape
    ('Linear', (5, 3))
    """
    label = name or (type(module).__name__ if isinstance(module, linen.Module) else _name(module))

    def build(image_shape: ImageShape, classes: int) -> tuple[BoundInit, Apply]:
        network: Any = module if isinstance(module, linen.Module) else module(classes)

        def init(key: jax.Array) -> tuple[Params, State]:
            images = jnp.zeros((1, *image_shape), jnp.float32)
            variables = dict(unfreeze(network.init(_streams(key), images, **_mode(network, False))))
            return variables.pop("params", {}), variables

        def apply(
            params: Params, state: State, images: jax.Array, *, train: bool, key: jax.Array | None
        ) -> tuple[jax.Array, State]:
            variables = {"params": params, **state}
            rngs = {} if key is None else _streams(key)
            mode = _mode(network, train)
            if not train:
                return network.apply(variables, images, rngs=rngs, **mode), state
            logits, changed = network.apply(variables, images, rngs=rngs, mutable=list(state), **mode)
            return logits, {**state, **unfreeze(changed)}

        return init, apply

    return _built(label, build, fold, fold_refusal, pixel_weights, select_pixels)


def _built(
    label: str,
    build: Build,
    fold: Fold | None,
    fold_refusal: FoldRefusal | None,
    pixel_weights: PixelWeights | None,
    select_pixels: SelectPixels | None,
    restore: Restore | None = None,
    recompute: Recompute | None = None,
    built_in: bool = False,
) -> Model:
    """The model of a module that is made for one shape of images."""

    def init(key: jax.Array, image_shape: ImageShape, classes: int) -> tuple[Params, State]:
        return build(image_shape, classes)[0](key)

    def apply(
        params: Params, state: State, images: jax.Array, *, train: bool, key: jax.Array | None
    ) -> tuple[jax.Array, State]:
        raise InputError(f"model: {label!r} is a flax module; bind it first: model.bind(image_shape, classes).apply(…)")

    given = (fold, fold_refusal, pixel_weights, select_pixels)
    return Model(label, init, apply, *given, build, restore, recompute, built_in)


def _name(thing: Any) -> str:
    return getattr(thing, "__name__", type(thing).__name__)


def _streams(key: jax.Array) -> dict[str, jax.Array]:
    """Random streams of a linen module; those with other names than "dropout" are drawn from "params"."""
    weights, noise = jax.random.split(key)
    return {"params": weights, "dropout": noise}


def _mode(network: linen.Module, train: bool) -> dict[str, Any]:
    """The argument by which a linen module is told whether it is being trained, if it has one."""
    arguments = inspect.signature(type(network).__call__).parameters
    return {name: answer(train) for name, answer in _MODES.items() if name in arguments}
