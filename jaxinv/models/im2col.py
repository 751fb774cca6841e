"""Convolution for many small networks at once: patches (im2col) and one matrix product.

XLA's own convolution is the wrong tool for training a small network many times over. On a CPU it runs about 20 times
slower inside a `while` or `scan` body than outside (jax#12868); mapped over networks it becomes a grouped convolution,
slow on every platform. Here (but for the programs whose target takes XLA's own, see `models.targets`)

    y[f, n] = sum_k w[f, k] P[k, n],    P[(c, i, j), (h, w, b)] = x[c, h s + i d, w s + j d, b],

with stride s and dilation d: one product of a small and a wide matrix, which `vmap` turns into a batch of products (and
into one taller product where the images are shared and only the weights differ). Everything is channel-major,
[C, H, W, B], so that a patch is a copy of long rows. The gradients are the two other products and, for the images, the
sum of the patches' gradients where they came from: shifted copies are added, nothing is scattered.

`conv_phases` splits the output's positions by their parity, y[f, q, p, h, w, b] = (output at 2 h + p, 2 w + q). The
pooling over 2 x 2 neighbours that follows is then a maximum of four contiguous arrays.

Users' own flax models take part through `conv_general_dilated`:

    nnx.Conv(1, 8, (3, 3), conv_general_dilated=jaxinv.models.im2col.conv_general_dilated, rngs=rngs)
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxinv.errors import InputError
from jaxinv.models import targets

Padding = str | Sequence[tuple[int, int]]
How = Literal["product", "xla"]


class Axis(NamedTuple):
    """One spatial axis of a convolution."""

    size: int  # of the images
    kernel: int
    stride: int
    dilation: int
    low: int  # zeros before and after
    high: int
    phases: int

    @property
    def outputs(self) -> int:
        """Output positions per phase; those that do not fill every phase are left out."""
        padded = self.low + self.size + self.high
        return ((padded - (self.kernel - 1) * self.dilation - 1) // self.stride + 1) // self.phases

    @property
    def period(self) -> int:
        """Distance in the images between neighbouring positions of one phase."""
        return self.stride * self.phases

    def offset(self, tap: int, phase: int) -> int:
        """Where, in the padded images, a kernel's tap falls at the first position of a phase."""
        return tap * self.dilation + phase * self.stride


def im2col(x: jax.Array, rows: Axis, cols: Axis) -> jax.Array:
    """Patches P of images: [C, H, W, B] to [C * taps, phases * positions * B]; taps (i, j), phases (column, row)."""
    padded = jnp.pad(x, ((0, 0), (rows.low, rows.high), (cols.low, cols.high), (0, 0)))
    # One axis after the other: as fast as both at once, with fewer pieces to compile.
    cut = jnp.stack(_take(padded, rows, axis=1), 1)
    cut = cut.reshape(x.shape[0] * rows.kernel, rows.phases, rows.outputs, *padded.shape[2:])
    return jnp.stack(_take(cut, cols, axis=3), 1).reshape(x.shape[0] * rows.kernel * cols.kernel, -1)


def col2im(dp: jax.Array, rows: Axis, cols: Axis) -> jax.Array:
    """The transpose of `im2col`: [C, kernel rows, kernel columns, phases, phases, positions, B] to [C, H, W, B].

    Every number is added where it was read from.
    """
    # One axis after the other takes a third of the time of both at once.
    by_row = [dp[:, tap, :, :, phase] for tap in range(rows.kernel) for phase in range(rows.phases)]
    dp = _put_back(by_row, rows, axis=3)  # [C, kernel, phases, H, outputs, B]
    by_col = [dp[:, tap, phase] for tap in range(cols.kernel) for phase in range(cols.phases)]
    return _put_back(by_col, cols, axis=2)


def _take(a: jax.Array, along: Axis, axis: int) -> list[jax.Array]:
    """What each tap reads at the positions of each phase, along one axis: padded length to `outputs`."""
    starts = [along.offset(tap, phase) for tap in range(along.kernel) for phase in range(along.phases)]
    reach = (along.outputs - 1) * along.period + 1
    return [lax.slice_in_dim(a, start, start + reach, along.period, axis) for start in starts]


def _put_back(pieces: Sequence[jax.Array], along: Axis, axis: int) -> jax.Array:
    """The transpose of padding and `_take`, along one axis: all is added where it was read; `outputs` to `size`."""
    blocks = -(-(along.low + along.size + along.high) // along.period)
    zero = jnp.zeros((), pieces[0].dtype)
    sums: dict[int, jax.Array] = {}
    for n, piece in enumerate(pieces):
        shift, residue = divmod(along.offset(*divmod(n, along.phases)), along.period)
        config = [(0, 0, 0)] * piece.ndim
        config[axis] = (shift, blocks - along.outputs - shift, 0)
        term = lax.pad(piece, zero, config)
        sums[residue] = sums[residue] + term if residue in sums else term
    untouched = jnp.zeros_like(next(iter(sums.values())))
    whole = jnp.stack([sums.get(residue, untouched) for residue in range(along.period)], axis + 1)
    whole = whole.reshape(*untouched.shape[:axis], blocks * along.period, *untouched.shape[axis + 1 :])
    return lax.slice_in_dim(whole, along.low, along.low + along.size, axis=axis)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _product(x: jax.Array, w: jax.Array, rows: Axis, cols: Axis, precision: Any) -> jax.Array:
    return _product_fwd(x, w, rows, cols, precision)[0]


def _product_fwd(x: jax.Array, w: jax.Array, rows: Axis, cols: Axis, precision: Any) -> tuple[jax.Array, Any]:
    patches = im2col(x, rows, cols)
    y = jnp.matmul(w.reshape(w.shape[0], -1), patches.astype(w.dtype), precision=precision)
    y = y.reshape(w.shape[0], cols.phases, rows.phases, rows.outputs, cols.outputs, x.shape[-1])
    return y, (w, patches if targets.current().keep_patches else x)


def _product_bwd(rows: Axis, cols: Axis, precision: Any, kept: Any, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    w, patches = kept
    if not targets.current().keep_patches:
        patches = im2col(patches, rows, cols)
    form, dy = dy.shape[1:], dy.reshape(w.shape[0], -1)
    # The taller factor comes first: 0.52 against 0.64 ms for [72, 19600] x [16, 19600] on one CPU core.
    dw = lax.dot_general(patches.astype(w.dtype), dy, (((1,), (1,)), ((), ())), precision=precision).T.reshape(w.shape)
    dp = lax.dot_general(w.reshape(w.shape[0], -1), dy, (((0,), (0,)), ((), ())), precision=precision)
    dp = dp.reshape(w.shape[1], rows.kernel, cols.kernel, *form)
    return col2im(dp, rows, cols).astype(patches.dtype), dw


_product.defvjp(_product_fwd, _product_bwd)


def _xla(x: jax.Array, w: jax.Array, rows: Axis, cols: Axis, precision: Any) -> jax.Array:
    """The same by XLA's own convolution."""
    y = lax.conv_general_dilated(
        x.astype(w.dtype),
        w,
        (rows.stride, cols.stride),
        ((rows.low, rows.high), (cols.low, cols.high)),
        rhs_dilation=(rows.dilation, cols.dilation),
        dimension_numbers=("CHWN", "OIHW", "CHWN"),
        precision=precision,
    )
    y = y[:, : rows.outputs * rows.phases, : cols.outputs * cols.phases]
    y = y.reshape(w.shape[0], rows.outputs, rows.phases, cols.outputs, cols.phases, x.shape[-1])
    return y.transpose(0, 4, 2, 1, 3, 5)


def conv(
    x: jax.Array,
    w: jax.Array,
    *,
    strides: tuple[int, int] = (1, 1),
    padding: Padding = "SAME",
    dilation: tuple[int, int] = (1, 1),
    precision: Any = None,
    how: How | None = None,
) -> jax.Array:
    """Two-dimensional convolution (cross-correlation, as everywhere in machine learning), channel-major.

    Args:
        x: images [C, H, W, B].
        w: kernels [F, C, kh, kw].
        strides, dilation: distance between output positions, and between a kernel's taps.
        padding: "SAME", "VALID" or ((top, bottom), (left, right)) zeros.
        precision: of the matrix products; None takes `jax_default_matmul_precision`.
        how: by patches and a product, or by XLA's own convolution; None: as the program's target says.

    Returns:
        [F, H', W', B].

    Raises:
        InputError: shapes that do not fit, or images smaller than the kernel's reach.

    >>> conv(jnp.ones((1, 4, 4, 2)), jnp.ones((3, 1, 3, 3))).shape
    (3, 4, 4, 2)
    """
    return _conv(x, w, strides, padding, dilation, (1, 1), precision, how)[:, 0, 0]


def conv_phases(
    x: jax.Array, w: jax.Array, *, padding: Padding = "SAME", precision: Any = None, how: How | None = None
) -> jax.Array:
    """`conv` with the output split by the parity of its position, ready for `max_pool_phases`.

    Args:
        x, w, padding, precision, how: as for `conv`.

    Returns:
        [F, 2, 2, H'//2, W'//2, B]: y[:, q, p, h, w] is `conv`'s output at row 2 h + p, column 2 w + q. The last row or
        column of an odd size, which 2 x 2 pooling leaves out, is not computed.

    >>> conv_phases(jnp.ones((1, 5, 4, 2)), jnp.ones((3, 1, 3, 3))).shape
    (3, 2, 2, 2, 2, 2)
    """
    return _conv(x, w, (1, 1), padding, (1, 1), (2, 2), precision, how)


def _conv(
    x: jax.Array,
    w: jax.Array,
    strides: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    phases: tuple[int, int],
    precision: Any,
    how: How | None = None,
) -> jax.Array:
    rows, cols = spatial_axes(x, w, strides, padding, dilation, phases)
    by_product = (how or targets.current().convolution) == "product"
    return (_product if by_product else _xla)(x, w, rows, cols, precision)


def spatial_axes(
    x: jax.Array,
    w: jax.Array,
    strides: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    phases: tuple[int, int],
) -> tuple[Axis, Axis]:
    """Rows and columns of a convolution of images [C, H, W, B] and kernels [F, C, kh, kw]."""
    if x.ndim != 4 or w.ndim != 4 or x.shape[0] != w.shape[1]:
        raise InputError(
            f"conv: images {x.shape} and kernels {w.shape} are not allowed; give [C, H, W, B] and [F, C, kh, kw]"
        )
    sizes, kernels = x.shape[1:3], w.shape[2:]
    if isinstance(padding, str):
        spans = [(k - 1) * d + 1 for k, d in zip(kernels, dilation, strict=True)]
        padding = lax.padtype_to_pads(sizes, spans, strides, padding)
    axes = [
        Axis(size, kernel, stride, gap, int(low), int(high), phase)
        for size, kernel, stride, gap, (low, high), phase in zip(
            sizes, kernels, strides, dilation, padding, phases, strict=True
        )
    ]
    if min(axis.outputs for axis in axes) < 1:
        raise InputError(
            f"conv: images of {sizes[0]} x {sizes[1]} are too small for this convolution; give larger ones"
        )
    return axes[0], axes[1]


@jax.custom_vjp
def max_pool_phases(y: jax.Array, offset: jax.Array | None = None) -> jax.Array:
    """Maximum over 2 x 2 neighbours of what `conv_phases` returns: [F, 2, 2, H, W, B] to [F, H, W, B].

    Among equals the gradient goes to the first, in row-major order, as in PyTorch and XLA.

    Args:
        y: what `conv_phases` returns.
        offset: [F, 2, 2, H, W], added to it first. Added here it is read phase by phase; added to a whole product, it
            is written out for all images on a GPU, as what the product begins from.

    >>> max_pool_phases(jnp.arange(8.0).reshape(2, 2, 2, 1, 1, 1)).ravel()
    Array([3., 7.], dtype=float32)
    """
    return _max_pool_fwd(y, offset)[0]


def _phase(y: jax.Array, offset: jax.Array | None, q: int, p: int) -> jax.Array:
    return y[:, q, p] if offset is None else y[:, q, p] + offset[:, q, p, ..., None]


def _max_pool_fwd(y: jax.Array, offset: jax.Array | None) -> tuple[jax.Array, Any]:
    upper = jnp.maximum(_phase(y, offset, 0, 0), _phase(y, offset, 0, 1))
    largest = jnp.maximum(upper, jnp.maximum(_phase(y, offset, 1, 0), _phase(y, offset, 1, 1)))
    return largest, (y, offset, largest)


def _max_pool_bwd(kept: Any, g: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    y, offset, largest = kept
    taken = jnp.zeros(largest.shape, bool)
    pieces = []
    for q, p in ((0, 0), (1, 0), (0, 1), (1, 1)):  # row-major in (p, q)
        here = (_phase(y, offset, q, p) == largest) & ~taken
        taken = taken | here
        pieces.append(jnp.where(here, g, jnp.zeros_like(g)))
    upper_left, upper_right, lower_left, lower_right = pieces
    dy = jnp.stack([upper_left, lower_left, upper_right, lower_right], 1).reshape(y.shape)
    return dy, None if offset is None else jnp.sum(dy, axis=-1)


max_pool_phases.defvjp(_max_pool_fwd, _max_pool_bwd)


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: Padding,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> jax.Array:
    """`jax.lax.conv_general_dilated` by patches and a product, for `flax`'s `Conv(conv_general_dilated=...)`.

    Two-dimensional convolutions without groups, dilated images or cropping (negative padding) take the product; every
    other one is handed on to `jax.lax` as it is. Same arguments, same result up to rounding.

    >>> images, kernels = jnp.ones((2, 4, 4, 1)), jnp.ones((3, 3, 1, 5))
    >>> conv_general_dilated(images, kernels, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")).shape
    (2, 4, 4, 5)
    """
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    plain = (
        lhs.ndim == 4
        and feature_group_count == batch_group_count == 1
        and all(d == 1 for d in lhs_dilation or ())
        and (isinstance(padding, str) or min(min(pair) for pair in padding) >= 0)
        and preferred_element_type in (None, jnp.result_type(lhs, rhs))
        and out_sharding is None
    )
    if not plain:
        return lax.conv_general_dilated(
            lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, numbers, feature_group_count,
            batch_group_count, precision, preferred_element_type, out_sharding,
        )  # fmt: skip
    batch, channel, *space = numbers.lhs_spec
    x = lhs.transpose(channel, *space, batch)
    y = _conv(x, rhs.transpose(numbers.rhs_spec), window_strides, padding, rhs_dilation or (1, 1), (1, 1), precision)
    batch, channel, row, col = numbers.out_spec
    order = [0] * 4
    order[batch], order[channel], order[row], order[col] = 3, 0, 1, 2
    return y[:, 0, 0].transpose(order)
