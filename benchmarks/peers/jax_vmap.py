"""What a JAX user writes first: one trial as a `scan`, `jit(vmap(trial))`, called once for each arm; float32."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.jobs import Job
from benchmarks.peers import Run

Parameters = dict[str, jax.Array]


def logits(parameters: Parameters, x: jax.Array) -> jax.Array:
    """Of images [B, D]; a hidden layer if the parameters have one."""
    if "first.weight" in parameters:
        x = jax.nn.relu(x @ parameters["first.weight"] + parameters["first.bias"][None])
    return x @ parameters["last.weight"] + parameters["last.bias"][None]


def loss(parameters: Parameters, x: jax.Array, y: jax.Array) -> jax.Array:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits(parameters, x)), y[:, None], axis=1).mean()


def prepare(job: Job) -> Run:
    arms = [[jnp.asarray(x.reshape(len(x), -1)) for x in job.pixels(arm)] for arm in job.arms]
    y_train, y_test = jnp.asarray(job.y_train), jnp.asarray(job.y_test)
    batches = jnp.asarray(job.batches)
    starts = starting_weights(job)

    def trial(start: Parameters, batches: jax.Array, x_train: jax.Array, x_test: jax.Array, *labels: jax.Array) -> Any:
        y_train, y_test = labels

        def step(parameters: Parameters, batch: jax.Array) -> tuple[Parameters, None]:
            gradient = jax.grad(loss)(parameters, x_train[batch], y_train[batch])
            return jax.tree.map(lambda p, g: p - job.learning_rate * g, parameters, gradient), None

        parameters, _ = jax.lax.scan(step, start, batches)
        return (logits(parameters, x_test).argmax(axis=1) == y_test).mean()

    trials = jax.jit(jax.vmap(trial, in_axes=(0, 0, None, None, None, None)))

    def run() -> np.ndarray:
        return np.stack([np.asarray(trials(starts, batches, *images, y_train, y_test)) for images in arms])

    return run


def starting_weights(job: Job) -> Parameters:
    """Every trial's parameters at the start, weights [T, inputs, outputs]."""
    if job.model == "softmax":
        inputs = int(np.prod(job.image_shape))
        shapes = {"last.weight": (inputs, job.classes), "last.bias": (job.classes,)}
        return {name: jnp.zeros((job.trials, *shape)) for name, shape in shapes.items()}
    return {name: jnp.asarray(v.swapaxes(1, 2) if name.endswith("weight") else v) for name, v in job.initial.items()}
