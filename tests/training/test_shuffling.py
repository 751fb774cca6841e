"""The index shuffle: a bijection, uniform over keys, walked epoch by epoch without repeats."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxinv.training.shuffling import batch_indices, permutation

SIZES = (1, 2, 3, 100, 1000, 55_000, 65_537)


def orders(n: int, count: int, seed: int = 0) -> np.ndarray:
    """[count, n]: the orders that so many keys stand for."""
    keys = jax.random.split(jax.random.key(seed), count)
    return np.asarray(jax.jit(jax.vmap(lambda key: permutation(key, jnp.arange(n), n)))(keys))


@pytest.mark.parametrize("n", SIZES)
def test_is_a_bijection(n: int) -> None:
    for order in orders(n, 5):
        np.testing.assert_array_equal(np.sort(order), np.arange(n))


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_all_orders_of_a_few_are_equally_likely(n: int) -> None:
    drawn = orders(n, 20_000)
    place = {order: i for i, order in enumerate(itertools.permutations(range(n)))}
    counts = np.bincount([place[tuple(order)] for order in drawn.tolist()], minlength=len(place))
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("n", [100, 1009, 55_000])
def test_first_elements_and_neighbours_are_uniform_over_keys(n: int) -> None:
    keys = jax.random.split(jax.random.key(1), 40_000)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: permutation(key, jnp.array([0, 1, n - 1]), n)))(keys), np.int64)
    for column in drawn.T:
        assert stats.chisquare(np.bincount(column * 100 // n, minlength=100)).pvalue > 1e-4
    gaps = (drawn[:, 1] - drawn[:, 0]) % n  # of a uniform order: uniform on 1 .. n - 1
    assert gaps.min() > 0
    edges = np.bincount((gaps - 1) * 50 // (n - 1), minlength=50)
    expected = np.bincount(np.arange(n - 1) * 50 // (n - 1), minlength=50) / (n - 1) * len(gaps)
    assert stats.chisquare(edges, expected).pvalue > 1e-4


def test_one_order_is_not_like_another() -> None:
    drawn = orders(1000, 200)
    correlations = np.corrcoef(drawn)[np.triu_indices(200, 1)]
    assert abs(correlations.mean()) < 0.002
    assert correlations.std() == pytest.approx(1 / np.sqrt(999), rel=0.05)


def walk(n: int, batch_size: int, steps: int, seed: int = 0) -> np.ndarray:
    draw = jax.jit(lambda key: jax.lax.map(lambda step: batch_indices(key, step, batch_size, n), jnp.arange(steps)))
    return np.asarray(draw(jax.random.key(seed)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "batch_size"), [(1, 1), (2, 2), (3, 2), (7, 3), (7, 7), (100, 30), (101, 100), (55_000, 100)]
)
def test_epochs_follow_one_another_without_repeats(n: int, batch_size: int) -> None:
    """Whatever the batch size, the stream of examples is one full shuffled epoch after another."""
    steps = min(-(-4 * n // batch_size), 1200)
    stream = walk(n, batch_size, steps).reshape(-1)
    for start in range(0, len(stream) - n + 1, n):
        np.testing.assert_array_equal(np.sort(stream[start : start + n]), np.arange(n))


@pytest.mark.slow
def test_batches_straddle_epochs_exactly() -> None:
    """The stream is cut into batches wherever it may be: batch sizes 30 and 1 read the very same stream."""
    np.testing.assert_array_equal(walk(100, 30, 10).reshape(-1), walk(100, 1, 300).reshape(-1))


def test_epochs_and_trials_differ() -> None:
    stream = walk(100, 100, 3)
    assert not np.array_equal(stream[0], stream[1])
    assert not np.array_equal(stream[0], walk(100, 100, 1, seed=1)[0])


@pytest.mark.slow
def test_late_steps_do_not_overflow() -> None:
    last = (2**31 - 1) // 100 - 1
    indices = np.asarray(batch_indices(jax.random.key(0), jnp.int32(last), 100, 55_000))
    assert len(set(indices.tolist())) == 100
    assert indices.min() >= 0
    assert indices.max() < 55_000
