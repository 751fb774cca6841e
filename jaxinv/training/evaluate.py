"""Evaluation of one network on all test images, tile by tile."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxinv.models import BoundModel, targets
from jaxinv.training.evaluation_tiles import TestSet, Tiles
from jaxinv.training.inputs import Affine, network_inputs
from jaxinv.training.losses import classify, cross_entropy

Metric = Callable[[jax.Array, jax.Array], jax.Array]  # (logits [B, C], labels [B]) -> [B]


class EvalMetrics(NamedTuple):
    """One evaluation on all M test images."""

    hits: jax.Array  # int32, how many test images are classified correctly
    test_loss: jax.Array  # mean cross-entropy, nats
    means: dict[str, jax.Array]  # of the user's metrics, by name


def evaluate(
    model: BoundModel,
    params: Any,
    model_state: Any,
    affine: Affine | None,
    test: TestSet,
    *,
    metrics: Mapping[str, Metric] | None = None,
    keep_predictions: bool = False,
) -> tuple[EvalMetrics, jax.Array | None]:
    """Hits, mean loss and means of metrics over all test images; and, to keep, the class that each is taken for.

    Args:
        model: the network.
        params, model_state: its parameters, and what else it carries.
        affine: applied to the images as stored; None where `params` read them as stored, which `test.pixel_order`
            needs.
        test: the test images in tiles.
        metrics: further ones, of each image.
        keep_predictions: also return int16 [M], the class with the largest logit.
    """
    if test.pixel_order is not None:
        params = model.select_pixels(params, test.pixel_order)
    metrics = metrics or {}
    zero = jnp.zeros((), jnp.float32)
    totals = EvalMetrics(jnp.zeros((), jnp.int32), zero, dict.fromkeys(metrics, zero))
    taken = []
    for tiles in test.groups:
        network, seen = model, params
        if test.pixel_order is not None:
            width = tiles.images.shape[2]
            network, seen = model.of_pixels(width), model.select_pixels(params, slice(width))
        logits_of = partial(_logits, network, seen, model_state, affine)
        totals, classes = lax.scan(partial(_add_tile, logits_of, metrics, keep_predictions), totals, tiles)
        taken.append(classes)
    count = np.float32(len(test.position))
    found = EvalMetrics(totals.hits, totals.test_loss / count, {name: v / count for name, v in totals.means.items()})
    by_image = jnp.concatenate([c.reshape(-1) for c in taken])[test.position] if keep_predictions else None
    return found, by_image


def _logits(model: BoundModel, params: Any, model_state: Any, affine: Affine | None, images: jax.Array) -> jax.Array:
    inputs = network_inputs(images.reshape(-1, *model.image_shape), affine, bfloat16=model.built_in)
    return model.apply(params, model_state, inputs, train=False, key=None)[0]


def _add_tile(
    logits_of: Callable[[jax.Array], jax.Array],
    metrics: Mapping[str, Metric],
    keep: bool,
    totals: EvalMetrics,
    tile: Tiles,
) -> tuple[EvalMetrics, jax.Array | None]:
    """Hits and sums with those of one more tile; and, to keep, the classes that its images are taken for."""
    logits = logits_of(tile.images)
    there, labels = tile.labels >= 0, jnp.maximum(tile.labels, 0)  # images labelled -1 fill the tile
    if logits.shape[-1] <= targets.current().spread_classes:
        classes, losses = classify(logits, labels)
    else:
        classes, losses = jnp.argmax(logits, axis=-1), cross_entropy(logits, labels)
    hits = totals.hits + jnp.sum(classes == tile.labels, dtype=jnp.int32)
    loss = totals.test_loss + jnp.sum(jnp.where(there, losses, 0.0))
    each = {name: jnp.where(there, metric(logits, labels), 0.0) for name, metric in metrics.items()}
    means = {name: totals.means[name] + jnp.sum(values) for name, values in each.items()}
    return EvalMetrics(hits, loss, means), classes.astype(jnp.int16) if keep else None
