"""Stored images as devices hold them, and what networks make of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinv as ji
from jaxinv.engine.resolve import resolve
from jaxinv.models import targets
from jaxinv.training.inputs import laid_out, network_inputs
from tests.datasets import tiny

pytestmark = pytest.mark.optimized


@pytest.mark.slow
@pytest.mark.parametrize("model", ["softmax", "mlp", "cnn"])
def test_pixels_in_bfloat16_give_the_same_logits_to_the_last_bit(model: str) -> None:
    resolved = resolve(ji.Study(dataset=tiny(shape=(8, 8, 1)), model=model, arms=("normal", "pixel_mean")))
    network = resolved.treatments[0].model
    params, state = network.init(jax.random.key(3))
    folded = network.fold(params, *(a[1] for a in resolved.groups[0].affine))
    every_value = np.arange(256, dtype=np.uint8).repeat(64).reshape(-1, 8, 8, 1)
    images = np.concatenate([every_value, resolved.dataset.x_test])

    @jax.jit
    def logits(stored: jax.Array) -> jax.Array:
        inputs = network_inputs(stored.reshape(-1, *network.image_shape), None, bfloat16=network.built_in)
        return network.apply(folded, state, inputs, train=False, key=None)[0]

    bytes_, rows = (laid_out(images, target) for target in (targets.CPU, targets.GPU))
    assert (bytes_.dtype, bytes_.shape, rows.dtype, rows.shape) == (np.uint8, images.shape, jnp.bfloat16, (316, 64))
    np.testing.assert_array_equal(logits(bytes_), logits(rows))


def test_images_lie_as_the_target_says() -> None:
    images = np.zeros((6, 4, 3, 2), np.uint8)
    assert laid_out(images, targets.CPU) is images
    assert laid_out(images, targets.TPU).shape == (6, 24)
    assert laid_out(images, targets.TPU).dtype == laid_out(images, targets.GPU, whole=True).dtype == np.uint8
    assert laid_out(images.astype(np.float32), targets.GPU).dtype == np.float32
    assert laid_out(images.reshape(2, 3, 4, 3, 2), targets.GPU, lead=2).shape == (2, 3, 24)
