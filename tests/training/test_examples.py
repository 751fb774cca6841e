"""Which examples a trial sees, and with which labels: counts, nesting, pairing, uniformity."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxinv.training import keys
from jaxinv.training.examples import noisy_labels, training_batches

N, C = 4000, 5  # of fewer than 1,000 examples, random orders take much longer to compile
TRIALS = jax.vmap(keys.trial_key, in_axes=(None, 0))(keys.root_key(7), jnp.arange(40))
LABELS = np.random.default_rng(0).integers(0, C, N)


@cache
def seen(steps: int, batch_size: int, train_examples: int | None) -> np.ndarray:
    """[T, S, B]: the examples of the first steps of each trial."""

    def batches(key: jax.Array) -> jax.Array:
        return training_batches(key, jnp.arange(steps), batch_size, N, train_examples)

    return np.asarray(jax.jit(jax.vmap(batches))(TRIALS))


@cache
def noisy(share: float, classes: int = C) -> np.ndarray:
    """[T, N]: each trial's labels of all examples."""
    labels, everything = jnp.asarray(LABELS % classes), jnp.arange(N)
    noise = jax.vmap(lambda key: noisy_labels(key, everything, labels, share, N, classes))
    return np.asarray(jax.jit(noise)(TRIALS))


def check_dispersion(counts: np.ndarray) -> None:
    """Of [N] examples, each chosen in half of the trials at random: the variance is that of the binomial."""
    dispersion = np.square(counts - len(TRIALS) / 2).mean() / (len(TRIALS) / 4)
    assert abs(dispersion - 1) < 5 * (2 / N) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 1000, 3001])
def test_each_epoch_of_a_subset_sees_each_of_its_examples_once(size: int) -> None:
    epochs = seen(3, size, size)
    for trial in np.sort(epochs, axis=2):
        assert len(np.unique(trial[0])) == size
        np.testing.assert_array_equal(trial, trial[:1].repeat(3, axis=0))
    if size > 1:
        assert not np.array_equal(epochs[:, 0], epochs[:, 1])  # in an order of its own


@pytest.mark.slow
def test_the_smaller_subset_is_inside_the_larger_and_each_trial_has_its_own() -> None:
    subsets = {size: seen(3, size, size)[:, 0] for size in (1, 1000, 3001)} | {2000: seen(1, 2000, 2000)[:, 0]}
    for small, large in ((1, 1000), (1000, 2000), (2000, 3001)):
        assert all(set(a) < set(b) for a, b in zip(subsets[small], subsets[large], strict=True))
    assert len({tuple(sorted(subset)) for subset in subsets[1000]}) == len(TRIALS)
    check_dispersion(np.bincount(subsets[2000].ravel(), minlength=N))


@pytest.mark.slow
@pytest.mark.parametrize("train_examples", [None, 1000])
def test_larger_batches_read_the_same_stream(train_examples: int | None) -> None:
    small, large = seen(24, 100, train_examples), seen(4, 600, train_examples)
    np.testing.assert_array_equal(small.reshape(len(TRIALS), -1), large.reshape(len(TRIALS), -1))


@pytest.mark.slow
@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.0002, 1), (0.5, 2000), (1.0, 4000)])
def test_exactly_the_share_of_labels_is_replaced(share: float, count: int) -> None:
    changed = noisy(share) != LABELS
    np.testing.assert_array_equal(changed.sum(axis=1), count)
    if 0 < share < 1:
        assert len({tuple(row) for row in changed.tolist()}) > 1


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 5])
def test_replaced_labels_are_uniform_over_the_other_classes(classes: int) -> None:
    away = (noisy(1.0, classes) - LABELS % classes) % classes
    counts = np.bincount(away.ravel(), minlength=classes)
    assert counts[0] == 0
    assert counts.sum() == N * len(TRIALS)
    assert classes == 2 or stats.chisquare(counts[1:]).pvalue > 1e-3
    for trial in away if classes > 2 else ():
        assert stats.chisquare(np.bincount(trial, minlength=classes)[1:]).pvalue > 1e-5


@pytest.mark.slow
def test_more_noise_replaces_more_labels_and_those_of_less_noise_by_the_same_classes() -> None:
    less, more = noisy(0.5), noisy(0.8)
    replaced = less != LABELS
    assert (more != LABELS)[replaced].all()
    np.testing.assert_array_equal(less[replaced], more[replaced])


@pytest.mark.slow
def test_which_examples_are_replaced_is_uniform_and_has_nothing_to_do_with_the_subset() -> None:
    replaced = noisy(0.5) != LABELS
    check_dispersion(replaced.sum(axis=0))
    inside = np.take_along_axis(replaced, seen(1, 2000, 2000)[:, 0], axis=1).sum()
    assert abs(inside - 1000 * len(TRIALS)) < 5 * (2000 * len(TRIALS) * 0.25 * 0.5) ** 0.5


@pytest.mark.slow
def test_an_example_has_one_label_wherever_it_is_read() -> None:
    examples = np.array([[5, 3999], [0, 5]])
    key, labels = TRIALS[3], jnp.asarray(LABELS[examples])
    np.testing.assert_array_equal(noisy_labels(key, jnp.asarray(examples), labels, 0.5, N, C), noisy(0.5)[3][examples])


def test_a_single_class_has_no_other() -> None:
    assert not noisy(1.0, classes=1).any()
