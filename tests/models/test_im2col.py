"""The convolution by patches against XLA's own, and the pooling against plain NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax

from jaxinv.errors import InputError
from jaxinv.models import im2col, targets

SHAPES = [  # x [C, H, W, B], w [F, C, kh, kw], strides, padding, dilation
    ((1, 8, 8, 3), (4, 1, 3, 3), (1, 1), "SAME", (1, 1)),
    ((3, 8, 6, 2), (4, 3, 3, 3), (1, 1), "VALID", (1, 1)),
    ((3, 7, 9, 2), (2, 3, 5, 3), (1, 1), "SAME", (1, 1)),
    ((2, 7, 9, 2), (2, 2, 3, 2), (2, 2), "SAME", (1, 1)),
    ((2, 8, 5, 2), (2, 2, 1, 1), (3, 2), "VALID", (1, 1)),
    ((1, 9, 8, 1), (3, 1, 3, 3), (1, 2), ((2, 0), (1, 3)), (2, 1)),
    ((1, 1, 1, 1), (1, 1, 3, 3), (1, 1), "SAME", (1, 1)),
]


def draw(*shapes: tuple[int, ...]) -> list[jax.Array]:
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.standard_normal(shape)) for shape in shapes]


def reference(x: jax.Array, w: jax.Array, strides: Any, padding: Any, dilation: Any) -> jax.Array:
    return lax.conv_general_dilated(
        x, w, strides, padding, rhs_dilation=dilation, dimension_numbers=("CHWN", "OIHW", "CHWN")
    )


def phases(y):
    """[F, H, W, B] to [F, 2, 2, H//2, W//2, B] by strided slices."""
    height, width = y.shape[1] // 2 * 2, y.shape[2] // 2 * 2
    y = y[:, :height, :width]
    return jnp.stack([jnp.stack([y[:, p::2, q::2] for p in (0, 1)], 1) for q in (0, 1)], 1)


def agree(ours: Any, theirs: Any, *inputs: jax.Array, tolerance: float = 1e-12) -> None:
    """Equal values, and equal gradients of a random projection, for all inputs."""
    (direction,) = draw(jax.eval_shape(theirs, *inputs).shape)
    every = tuple(range(len(inputs)))

    def both(function):
        value = jax.value_and_grad(lambda *a: (jnp.vdot(y := function(*a), direction), y), every, has_aux=True)
        (_, y), gradients = value(*inputs)
        return y, gradients

    found, expected = jax.jit(lambda: (both(ours), both(theirs)))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), found, expected)


@pytest.mark.parametrize(("x", "w", "strides", "padding", "dilation"), SHAPES)
def test_conv_equals_xla(x: Any, w: Any, strides: Any, padding: Any, dilation: Any):
    with jax.enable_x64(True):
        agree(
            lambda x, w: im2col.conv(x, w, strides=strides, padding=padding, dilation=dilation),
            lambda x, w: reference(x, w, strides, padding, dilation),
            *draw(x, w),
        )


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("size", "kernel"), [((8, 8), (3, 3)), ((9, 6), (2, 3)), ((6, 11), (5, 5))])
def test_conv_phases_equals_xla(padding: str, size: tuple[int, int], kernel: tuple[int, int]):
    with jax.enable_x64(True):
        agree(
            lambda x, w: im2col.conv_phases(x, w, padding=padding),
            lambda x, w: phases(reference(x, w, (1, 1), padding, (1, 1))),
            *draw((2, *size, 3), (4, 2, *kernel)),
        )


@pytest.mark.slow
@pytest.mark.parametrize("shared_images", [True, False])
def test_many_networks_at_once_equal_one_at_a_time(shared_images):
    def gradients(x, w):
        return jax.value_and_grad(lambda x, w: jnp.sum(jnp.sin(im2col.conv_phases(x, w))), (0, 1))(x, w)

    with jax.enable_x64(True):
        x, w = draw((5, 2, 6, 6, 3), (5, 4, 2, 3, 3))
        x = x[0] if shared_images else x
        together = jax.jit(jax.vmap(gradients, (None if shared_images else 0, 0)))(x, w)
        for t in range(5):
            alone = gradients(x if shared_images else x[t], w[t])
            jax.tree.map(lambda a, b, t=t: np.testing.assert_allclose(a[t], b, rtol=1e-12, atol=1e-12), together, alone)


@pytest.mark.slow
def test_the_product_and_xla_are_chosen_by_target():
    x, w = draw((2, 6, 7, 3), (4, 2, 3, 3))
    assert "conv_general_dilated" not in str(jax.make_jaxpr(jax.grad(lambda x: im2col.conv_phases(x, w).sum()))(x))
    with jax.enable_x64(True):
        x, w = draw((2, 6, 7, 3), (4, 2, 3, 3))
        by_product = [im2col.conv_phases(x, w), im2col.conv(x, w, strides=(2, 1), padding="VALID")]
        with targets.writing_for(targets.TPU):
            assert "conv_general_dilated" in str(jax.make_jaxpr(im2col.conv_phases)(x, w))
            by_xla = [im2col.conv_phases(x, w), im2col.conv(x, w, strides=(2, 1), padding="VALID")]
        for a, b in zip(by_product, by_xla, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_images_that_are_data_cost_no_gradient():
    """A first layer's images are not trained: the compiled program must not hold the product for their gradient."""
    x, w = draw((4, 8, 8, 16), (16, 4, 3, 3))

    def flops(argnums: Any) -> float:
        step = jax.jit(jax.grad(lambda x, w: jnp.sum(im2col.conv(x, w) ** 2), argnums))
        analysis: Any = step.lower(x, w).compile().cost_analysis()
        return analysis["flops"]

    product = 2 * x[0].size * 4 * 9 * 16
    assert flops((0, 1)) - flops(1) > 0.9 * product


def test_wrong_shapes_are_refused():
    with pytest.raises(InputError, match=r"conv: images \(2, 4, 4, 1\) and kernels \(3, 1, 3, 3\)"):
        im2col.conv(*draw((2, 4, 4, 1), (3, 1, 3, 3)))
    with pytest.raises(InputError, match="2 x 4 are too small"):
        im2col.conv(*draw((1, 2, 4, 1), (3, 1, 3, 3)), padding="VALID")
    with pytest.raises(InputError, match="1 x 4 are too small"):
        im2col.conv_phases(*draw((1, 1, 4, 1), (3, 1, 3, 3)))


@pytest.mark.slow
def test_max_pool_equals_numpy():
    """Values and gradients; among equals, as rounding to a few values makes many of, the first has the gradient."""
    rng = np.random.default_rng(0)
    y = np.round(rng.standard_normal((3, 2, 2, 4, 5, 6)) * 2)
    g = rng.standard_normal((3, 4, 5, 6))
    flat = y.swapaxes(1, 2).reshape(3, 4, 4, 5, 6)  # row by row
    first = np.argmax(flat, axis=1)  # the first of several
    expected = np.zeros_like(flat)
    np.put_along_axis(expected, first[:, None], g[:, None], axis=1)
    assert np.mean(np.sum(flat == flat.max(1, keepdims=True), axis=1) > 1) > 0.2
    with jax.enable_x64(True):
        value, back = jax.vjp(im2col.max_pool_phases, jnp.asarray(y))
        np.testing.assert_array_equal(value, y.max((1, 2)))
        np.testing.assert_array_equal(back(jnp.asarray(g))[0], expected.reshape(3, 2, 2, 4, 5, 6).swapaxes(1, 2))


def test_conv_and_pool_equal_those_of_xla_together():
    def theirs(x, w):
        y = reference(x, w, (1, 1), "SAME", (1, 1))
        return lax.reduce_window(y, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    with jax.enable_x64(True):
        agree(lambda x, w: im2col.max_pool_phases(im2col.conv_phases(x, w)), theirs, *draw((2, 9, 6, 3), (4, 2, 3, 3)))


NHWC, NCHW = ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")


@pytest.mark.parametrize(
    ("lhs", "rhs", "options", "product"),
    [
        ((2, 8, 7, 3), (3, 3, 3, 4), {"dimension_numbers": NHWC}, True),
        ((2, 3, 8, 7), (4, 3, 3, 2), {"dimension_numbers": NCHW, "rhs_dilation": (2, 1)}, True),
        ((2, 3, 8, 7), (4, 3, 3, 2), {"window_strides": (2, 3)}, True),
        ((2, 8, 7, 4), (3, 3, 2, 6), {"dimension_numbers": NHWC, "feature_group_count": 2}, False),
        (
            (2, 8, 7, 4),
            (3, 3, 4, 6),
            {"dimension_numbers": NHWC, "lhs_dilation": (2, 2), "padding": ((1, 1), (1, 1))},
            False,
        ),
        ((2, 8, 7, 4), (3, 3, 4, 6), {"dimension_numbers": NHWC, "padding": ((-1, 0), (0, 2))}, False),
        ((2, 8, 4), (3, 4, 6), {"dimension_numbers": ("NHC", "HIO", "NHC"), "window_strides": (1,)}, False),
    ],
)
def test_the_drop_in_equals_lax(lhs: Any, rhs: Any, options: Any, product: bool):
    options = {"window_strides": (1, 1), "padding": "SAME", **options}
    with jax.enable_x64(True):
        lhs, rhs = draw(lhs, rhs)
        agree(
            lambda x, w: im2col.conv_general_dilated(x, w, **options),
            lambda x, w: lax.conv_general_dilated(x, w, **options),
            lhs,
            rhs,
        )
        used = "conv_general_dilated" not in str(
            jax.make_jaxpr(lambda x: im2col.conv_general_dilated(x, rhs, **options))(lhs)
        )
        assert used == product


def test_the_drop_in_gives_results_of_another_type():
    """The value alone: the gradient of such a convolution is beyond JAX 0.8 itself."""
    options = {"window_strides": (1, 1), "padding": "SAME", "preferred_element_type": jnp.float64}
    with jax.enable_x64(True):
        x, w = (a.astype(jnp.float32) for a in draw((2, 3, 8, 7), (4, 3, 3, 2)))
        found = im2col.conv_general_dilated(x, w, **options)
        assert found.dtype == jnp.float64
        np.testing.assert_array_equal(found, lax.conv_general_dilated(x, w, **options))


@pytest.mark.slow
def test_layers_of_flax_accept_the_drop_in():
    images = draw((2, 8, 7, 3))[0].astype(jnp.float32)
    nnx_layer = lambda **how: nnx.Conv(3, 4, (3, 3), strides=(2, 1), rngs=nnx.Rngs(0), **how)  # noqa: E731
    linen_layer = lambda **how: linen.Conv(4, (3, 3), padding="VALID", **how)  # noqa: E731
    ours: Any = nnx_layer(conv_general_dilated=im2col.conv_general_dilated)
    np.testing.assert_allclose(ours(images), nnx_layer()(images), rtol=1e-5, atol=1e-5)
    ours, theirs = linen_layer(conv_general_dilated=im2col.conv_general_dilated), linen_layer()
    weights = theirs.init(jax.random.key(0), images)
    expected: Any = theirs.apply(weights, images)
    np.testing.assert_allclose(ours.apply(weights, images), expected, rtol=1e-5, atol=1e-5)
