"""What a flax user writes first for a convnet: `nnx.Conv`, a trial as a `scan`, `jit(vmap(trial))`.

Test images go through in batches, from the host.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.jobs import CHANNELS, Job
from benchmarks.peers import Run

TEST_BATCH = 1000  # the feature maps of all test images and trials at once would take gigabytes


class Cnn(nnx.Module):
    def __init__(self, image_shape: tuple[int, int, int], classes: int, rngs: nnx.Rngs) -> None:
        height, width, channels = image_shape
        one, two = CHANNELS
        self.first = nnx.Conv(channels, one, (3, 3), rngs=rngs)
        self.second = nnx.Conv(one, two, (3, 3), rngs=rngs)
        self.last = nnx.Linear((height // 4) * (width // 4) * two, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(nnx.max_pool(self.first(x), (2, 2), strides=(2, 2)))
        x = nnx.relu(nnx.max_pool(self.second(x), (2, 2), strides=(2, 2)))
        return self.last(x.reshape(x.shape[0], -1))


def prepare(job: Job) -> Run:
    graph, structure = nnx.split(Cnn(job.image_shape, job.classes, nnx.Rngs(0)), nnx.Param)
    starts = starting_weights(job, structure)
    arms = [[jnp.asarray(x) for x in job.pixels(arm)] for arm in job.arms]
    y_train, y_test = jnp.asarray(job.y_train), jnp.asarray(job.y_test)
    batches = jnp.asarray(job.batches)

    def loss(parameters: nnx.State, x: jax.Array, y: jax.Array) -> jax.Array:
        logits = nnx.merge(graph, parameters)(x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def trial(start: nnx.State, batches: jax.Array, x_train: jax.Array, y_train: jax.Array) -> nnx.State:
        def step(parameters: nnx.State, batch: jax.Array) -> tuple[nnx.State, None]:
            gradient = jax.grad(loss)(parameters, x_train[batch], y_train[batch])
            return jax.tree.map(lambda p, g: p - job.learning_rate * g, parameters, gradient), None

        return jax.lax.scan(step, start, batches)[0]

    def hits(parameters: nnx.State, x: jax.Array, y: jax.Array) -> jax.Array:
        return (nnx.merge(graph, parameters)(x).argmax(axis=1) == y).sum()

    train = jax.jit(jax.vmap(trial, in_axes=(0, 0, None, None)))
    count = jax.jit(jax.vmap(hits, in_axes=(0, None, None)))

    def run() -> np.ndarray:
        return np.stack([accuracy(train(starts, batches, x_train, y_train), x_test) for x_train, x_test in arms])

    def accuracy(trained: nnx.State, x_test: jax.Array) -> np.ndarray:
        tiles = range(0, len(x_test), TEST_BATCH)
        total = sum(count(trained, x_test[i : i + TEST_BATCH], y_test[i : i + TEST_BATCH]) for i in tiles)
        return np.asarray(total) / len(x_test)

    return run


def starting_weights(job: Job, structure: nnx.State) -> nnx.State:
    """Every trial's parameters at the start, in flax's layouts and under flax's names."""
    state = nnx.to_pure_dict(structure)
    for name, value in job.initial.items():
        layer, kind = name.split(".")
        if name == "last.weight":  # here the features come in the order row, column, channel
            height, width, _ = job.image_shape
            maps = value.reshape(job.trials, job.classes, -1, height // 4, width // 4)
            value = maps.transpose(0, 3, 4, 2, 1).reshape(job.trials, -1, job.classes)
        elif kind == "weight":
            value = value.transpose(0, 3, 4, 2, 1)
        state[layer]["kernel" if kind == "weight" else kind] = jnp.asarray(value)
    trained = jax.tree.map(lambda leaf: leaf, structure)
    nnx.replace_by_pure_dict(trained, state)
    return trained
