"""A convolution and its pooling as one, against the two apart, values and gradients."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv.models import im2col, targets
from jaxinv.models.conv_pool import conv_pool


@pytest.mark.slow
@pytest.mark.parametrize("direct", [0, 27])
@pytest.mark.parametrize(
    ("x", "w", "padding"),
    [((1, 8, 8, 3), (4, 1, 3, 3), "SAME"), ((3, 9, 6, 2), (2, 3, 3, 3), "SAME"), ((2, 7, 8, 2), (3, 2, 3, 2), "VALID")],
)
def test_equals_the_two_apart(x: Any, w: Any, padding: Any, direct: int) -> None:
    rng = np.random.default_rng(0)
    with jax.enable_x64(True), targets.writing_for(replace(targets.GPU, direct_weights=direct)):
        image, kernel = (jnp.asarray(np.round(rng.standard_normal(shape) * 2)) for shape in (x, w))  # with ties
        y = im2col.conv_phases(image, kernel, padding=padding)
        offset = jnp.asarray(np.round(rng.standard_normal(y.shape[:-1])))
        g = jnp.asarray(rng.standard_normal(im2col.max_pool_phases(y).shape))

        def apart(image: jax.Array, kernel: jax.Array, offset: jax.Array) -> jax.Array:
            return im2col.max_pool_phases(im2col.conv_phases(image, kernel, padding=padding) + offset[..., None])

        def together(image: jax.Array, kernel: jax.Array, offset: jax.Array) -> jax.Array:
            return conv_pool(image, kernel, offset, padding)

        expected, pull = jax.vjp(apart, image, kernel, offset)
        found, pull_found = jax.vjp(together, image, kernel, offset)
        np.testing.assert_array_equal(found, expected)
        for a, b in zip(pull_found(g), pull(g), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(
            conv_pool(image, kernel, None, padding),
            im2col.max_pool_phases(im2col.conv_phases(image, kernel, padding=padding)),
        )


@pytest.mark.slow
def test_nothing_moves_where_the_output_is_not_a_number() -> None:
    image, kernel = jnp.full((1, 4, 4, 1), jnp.nan), jnp.ones((1, 1, 3, 3))
    with targets.writing_for(targets.GPU):
        value, pull = jax.vjp(lambda w: conv_pool(image, w, None, "SAME"), kernel)
    assert np.isnan(value).all()
    assert pull(jnp.ones_like(value))[0].shape == kernel.shape
