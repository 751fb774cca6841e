"""Evaluation of one network on all test images, tile by tile."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinv.models import BoundModel
from jaxinv.training.evaluation_tiles import TestSet, Tiles
from jaxinv.training.inputs import Affine, network_inputs
from jaxinv.training.losses import cross_entropy


class EvalMetrics(NamedTuple):
    """One evaluation on all M test images."""

    hits: jax.Array  # int32, how many test images are classified correctly
    test_loss: jax.Array  # mean cross-entropy, nats
    correct: jax.Array | None  # bool [M], where asked for


def evaluate(
    model: BoundModel,
    params: Any,
    model_state: Any,
    affine: Affine | None,
    test: TestSet,
    *,
    keep_correct: bool = False,
) -> EvalMetrics:
    """Hits and mean loss over all test images.

    Args:
        model: the network.
        params, model_state: its parameters, and what else it carries.
        affine: applied to the images as stored; None where `params` read them as stored, which `test.pixel_order`
            needs.
        test: the test images in tiles.
        keep_correct: also say which images are classified correctly.
    """
    if test.pixel_order is not None:
        params = model.select_pixels(params, test.pixel_order)
    totals = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32)
    correct = []
    for tiles in test.groups:
        network, seen = model, params
        if test.pixel_order is not None:
            width = tiles.images.shape[2]
            network, seen = model.of_pixels(width), model.select_pixels(params, slice(width))
        logits_of = partial(_logits, network, seen, model_state, affine)
        totals, right = lax.scan(partial(_add_tile, logits_of, keep_correct), totals, tiles)
        correct.append(right)
    hits, loss = totals
    by_image = jnp.concatenate([right.reshape(-1) for right in correct])[test.position] if keep_correct else None
    return EvalMetrics(hits, loss / np.float32(len(test.position)), by_image)


def _logits(model: BoundModel, params: Any, model_state: Any, affine: Affine | None, images: jax.Array) -> jax.Array:
    return model.apply(params, model_state, network_inputs(images, affine), train=False, key=None)[0]


def _add_tile(
    logits_of: Callable[[jax.Array], jax.Array], keep: bool, totals: tuple[jax.Array, jax.Array], tile: Tiles
) -> tuple[tuple[jax.Array, jax.Array], jax.Array | None]:
    """Hits and summed loss with those of one more tile; and, to keep, which of its images are classified correctly."""
    hits, loss = totals
    logits = logits_of(tile.images)
    correct = jnp.argmax(logits, axis=-1) == tile.labels  # never for the images labelled -1, which fill the tile
    losses = jnp.where(tile.labels >= 0, cross_entropy(logits, jnp.maximum(tile.labels, 0)), 0.0)
    totals = hits + jnp.sum(correct, dtype=jnp.int32), loss + jnp.sum(losses)
    return totals, correct if keep else None
