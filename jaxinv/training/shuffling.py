"""Which examples a step sees: epochs of a keyed random order, walked batch by batch.

`jax.random.permutation` sorts all n keys, which takes longer than training on them; here the i-th element of a random
permutation is computed by itself, by a Feistel network whose two halves are residues modulo a and b, a·b ≥ n
("method 2" of J. Black and P. Rogaway, *Ciphers with arbitrary finite domains*, CT-RSA 2002). It permutes [0, a·b);
an image that is not below n is sent through again until it is ("cycle walking"), which leaves a permutation of [0, n).
a and b are chosen near √n with the least a·b - n: 55,000 = 220·250 needs no second walk at all.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp

ROUNDS = 8
ROUNDS_FEW = 24  # for fewer than 1,000 elements: smaller halves need more rounds until all orders are equally likely


def permutation(key: jax.Array, position: jax.Array, n: int) -> jax.Array:
    """The elements at some positions of the random order of [0, n) that the key stands for.

    Args:
      key: one key, an epoch's own.
      position: int32, any shape, each in [0, n).
      n: how many elements, a Python int from 1 to 2³¹-1.

    Returns:
      int32 of the same shape; over all n positions each element comes up exactly once.

    >>> sorted(permutation(jax.random.key(0), jnp.arange(5), 5).tolist())
    [0, 1, 2, 3, 4]
    """
    a, b = _halves(n)
    rounds = jax.random.bits(key, (ROUNDS if n >= 1000 else ROUNDS_FEW,), jnp.uint32)
    encrypt = partial(_encrypt, rounds=rounds, a=a, b=b)
    start = encrypt(position.astype(jnp.uint32))
    if a * b == n:
        return start.astype(jnp.int32)
    walked = jax.lax.while_loop(lambda x: jnp.any(x >= n), lambda x: jnp.where(x >= n, encrypt(x), x), start)
    return walked.astype(jnp.int32)


def batch_indices(key: jax.Array, step: jax.Array, batch_size: int, n: int) -> jax.Array:
    """The examples of one step: the next `batch_size` of an endless walk through freshly shuffled epochs.

    A batch may begin in one epoch and end in the next, as with `next_batch` of TensorFlow's MNIST tutorial.

    Args:
      key: the trial's "shuffle" stream.
      step: int32 scalar, from 0; `(step + 1) * batch_size` stays below 2³¹.
      batch_size: B, from 1 to n.
      n: how many training examples.

    Returns:
      int32 [B], each in [0, n).
    """
    start = step * batch_size  # in the endless walk
    epoch, offset = start // n, start % n
    position = offset + jnp.arange(batch_size, dtype=jnp.int32)
    here = permutation(jax.random.fold_in(key, epoch), jnp.minimum(position, n - 1), n)
    if n % batch_size == 0:
        return here  # no batch straddles two epochs
    there = permutation(jax.random.fold_in(key, epoch + 1), jnp.maximum(position - n, 0), n)
    return jnp.where(position < n, here, there)


def _halves(n: int) -> tuple[int, int]:
    """a and b, not far from √n, with a·b - n least and not negative."""
    root = math.isqrt(n - 1) + 1
    return min(((a, -(-n // a)) for a in range(root, root // 2, -1)), key=lambda ab: ab[0] * ab[1])


@partial(jax.jit, static_argnames=("a", "b"))  # traced once for all of its uses
def _encrypt(x: jax.Array, rounds: jax.Array, a: int, b: int) -> jax.Array:
    """One walk of uint32 numbers in [0, a·b) through the network; an even number of rounds."""
    left, right = x // b, x % b  # x = left * b + right, left < a, right < b
    for i in range(0, len(rounds), 2):
        left = _add(left, _below(_mix(right, rounds[i]), a), a)
        right = _add(right, _below(_mix(left, rounds[i + 1]), b), b)
    return left * b + right


def _mix(x: jax.Array, salt: jax.Array) -> jax.Array:
    """A 32-bit finaliser (C. Wellons' `lowbias32`): each bit of x flips each bit of the result half of the time."""
    x = x ^ salt
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def _below(bits: jax.Array, m: int) -> jax.Array:
    """32 random bits to [0, m), m ≤ 2¹⁶, without a division; no residue is favoured by more than m/2¹⁶."""
    return ((bits >> 16) * jnp.uint32(m)) >> 16


def _add(x: jax.Array, y: jax.Array, m: int) -> jax.Array:
    """x + y modulo m, both below m."""
    total = x + y
    return jnp.where(total >= m, total - m, total)
