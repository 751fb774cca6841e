"""Which training examples a trial sees, and with which labels: subsets and label noise, from the trial's key."""

import jax
import jax.numpy as jnp

from jaxinv.training import keys
from jaxinv.training.shuffling import batch_indices, permutation


def training_batches(
    key: jax.Array, steps: jax.Array, batch_size: int, count: int, train_examples: int | None
) -> jax.Array:
    """The examples of some steps: int32 [S, B], each in [0, N).

    Each step takes the next `batch_size` of an endless walk through shuffled epochs. With `train_examples`, the epochs
    are those of a random subset: the first so many of a random order of all N, so that the smaller subset lies inside
    the larger.

    Args:
      key: the trial's.
      steps: int32 [S].
      count: N, how many training examples there are.
    """
    shuffle, used = keys.stream(key, "shuffle"), train_examples or count
    batches = jax.vmap(lambda step: batch_indices(shuffle, step, batch_size, used))(steps)
    return batches if train_examples is None else permutation(keys.stream(key, "subset"), batches, count)


def noisy_labels(
    key: jax.Array, examples: jax.Array, labels: jax.Array, share: float, count: int, classes: int
) -> jax.Array:
    """Labels of which a share is replaced by another class.

    Exactly round(share * N) of the N examples have another label, those with a low place in a random order. So the
    labels replaced by a smaller share are among those replaced by a larger one, and by the same classes. The new class
    is drawn uniformly from the C - 1 others.

    Args:
      key: the trial's.
      examples: int32, any shape: which examples.
      labels: int32, of the same shape: theirs.
      count: N, how many training examples there are.
    """
    noise = keys.stream(key, "labels")
    replaced = permutation(noise, examples, count) < round(share * count)

    def step(example: jax.Array) -> jax.Array:
        return jax.random.randint(jax.random.fold_in(noise, example), (), 1, max(classes, 2))

    steps = jax.vmap(step)(examples.reshape(-1)).reshape(examples.shape)
    return jnp.where(replaced, (labels + steps) % classes, labels)
