"""Flax modules as `Model`s."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxinv.errors import InputError
from jaxinv.models.model import ImageShape, Model, Params, State

Constructor = Callable[[ImageShape, int, nnx.Rngs], nnx.Module]

#: Where `fold` leaves what the first layer must add when it has no bias of a fitting shape to hold it.
OFFSET = "folded_offset"


class _Graphs:
    """The static half of a flax nnx module, made when the module is first built and looked up by its arrays' shapes.

    `apply` sees parameters and images but not the number of classes, so the shapes have to identify the network.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._known: dict[Any, tuple[nnx.GraphDef, nnx.GraphDef, nnx.State]] = {}

    @staticmethod
    def _signature(image_shape: tuple[int, ...], params: Params, state: State) -> Any:
        leaves, structure = jax.tree.flatten((params, state))
        return image_shape, structure, tuple(jnp.shape(leaf) for leaf in leaves)

    def add(self, module: nnx.Module, image_shape: ImageShape) -> tuple[Params, State]:
        """Remember the module's graph; return its arrays."""
        module.eval()
        evaluating, _, _, _ = nnx.split(module, nnx.Param, nnx.RngState, ...)
        module.train()
        training, trained, random, rest = nnx.split(module, nnx.Param, nnx.RngState, ...)
        params, state = nnx.to_pure_dict(trained), nnx.to_pure_dict(rest)
        # Random state is remade from the step's key in `apply`; only its structure is kept, never a traced value.
        random = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), leaf.dtype), random)
        signature = self._signature(tuple(image_shape), params, state)
        known = self._known.setdefault(signature, (training, evaluating, random))
        if known[:2] != (training, evaluating):
            raise InputError(
                f"model: {self.name!r} builds different networks from parameters of the same shapes; "
                "make one Model for each"
            )
        return params, state

    def find(self, image_shape: tuple[int, ...], params: Params, state: State, train: bool) -> tuple[Any, nnx.State]:
        signature = self._signature(image_shape, params, state)
        if signature not in self._known:
            raise InputError(
                f"model: {self.name!r} was never initialised for images of shape {image_shape} with these parameters; "
                "call its init first"
            )
        training, evaluating, random = self._known[signature]
        return (training if train else evaluating), random


def _reseed(random: nnx.State, key: jax.Array | None) -> nnx.State:
    """Random state with every stream restarted from `key`; streams differ by their position."""
    base = jax.random.key(0) if key is None else key
    leaves, structure = jax.tree.flatten(random)
    fresh = [
        jax.random.fold_in(base, i) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else jnp.zeros((), leaf.dtype)
        for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, fresh)


def from_nnx(
    constructor: Constructor,
    *,
    name: str | None = None,
    fold: Callable[[Params, jax.Array, jax.Array], Params] | None = None,
    fold_refusal: Callable[[Any, Any], str | None] | None = None,
    pixel_weights: Callable[[Params, ImageShape], jax.Array] | None = None,
) -> Model:
    """A `Model` from a flax nnx module.

    Args:
        constructor: `(image_shape, classes, rngs) -> nnx.Module`; the module is called on images [B, H, W, K] and
            returns logits [B, C].
    """
    label = name or getattr(constructor, "__name__", type(constructor).__name__)
    graphs = _Graphs(label)

    def init(key: jax.Array, image_shape: ImageShape, classes: int) -> tuple[Params, State]:
        return graphs.add(constructor(image_shape, classes, nnx.Rngs(key)), image_shape)

    def apply(
        params: Params, state: State, images: jax.Array, *, train: bool, key: jax.Array | None
    ) -> tuple[jax.Array, State]:
        offset = params.get(OFFSET)
        params = {name: value for name, value in params.items() if name != OFFSET}
        graph, random = graphs.find(images.shape[1:], params, state, train)
        module = nnx.merge(graph, nnx.State(params), _reseed(random, key), nnx.State(state))
        logits = module(images) if offset is None else module(images, offset)
        _, _, _, rest = nnx.split(module, nnx.Param, nnx.RngState, ...)
        return logits, nnx.to_pure_dict(rest)

    return Model(label, init, apply, fold, fold_refusal, pixel_weights)
