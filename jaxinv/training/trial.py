"""One trial: from a key to what a network learned. Unbatched and pure; whoever wants many maps it from outside.

A trial is four phases, each a method of `Trial` and a pure function of arrays:

    start     initial weights, from the trial's key
    advance   `eval_every` updates, each on the next batch of the trial's own walk through shuffled epochs
    evaluate  hits and loss over all test images
    change    how far the weights moved

`whole_trial` strings them together. It can be told how to map the phases, so that the very same lines make one trial
or a chunk of them under many arms and learning rates.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxinv.models import Model
from jaxinv.training import keys, weight_change
from jaxinv.training.optimizers import Optimizer
from jaxinv.training.shuffling import batch_indices

# a mean cross-entropy a thousand times that of guessing, log C, is no longer a matter of learning slowly
DIVERGED_LOSS = 1000.0


Array = Any  # a jax.Array, or what stands for one: NumPy's, an axis to map over, a shape and dtype


class Arm(NamedTuple):
    """An affine presentation of the images: a network sees scale * image + offset; both float32 [H, W, K]."""

    scale: Array
    offset: Array


class Setting(NamedTuple):
    """What sets one training apart from the next."""

    key: Array  # the trial's own; the same for every arm and learning rate
    learning_rate: Array  # scalar
    arm: Arm


class Tiles(NamedTuple):
    """Test images in tiles of equal length, the last filled up with images labelled -1."""

    images: Array  # [tiles, tile, H, W, K], or [tiles, tile, n, 1, 1] of the first n of `Data.pixels`
    labels: Array  # int32 [tiles, tile]


class Data(NamedTuple):
    """M test and N training images, as stored (uint8) or, where an arm is not affine, as it shows them (float32)."""

    x_train: Array  # [N, H, W, K]
    y_train: Array  # int32 [N]
    test: tuple[Tiles, ...]  # images of one width each
    place: Array  # int32 [M], where each test image stands in the tiles, laid end to end
    pixels: Array | None  # int32 [H·W·K], the order of the pixels in `test` if not their own; later ones may be left
    # out where they are 0 in all images of a width


class Progress(NamedTuple):
    """Where a trial stands between updates."""

    params: Any
    state: Any  # of the model: batch statistics and the like
    optimizer: Any


class Look(NamedTuple):
    """One evaluation on all test images."""

    hits: jax.Array  # int32, how many test images are classified correctly
    test_loss: jax.Array  # mean cross-entropy, nats
    correct: jax.Array | None  # bool [M], where asked for


class Change(NamedTuple):
    """How far the weights moved between the first and the last step."""

    weight_delta: jax.Array | None  # [H, W, K], where the first layer reads pixels directly
    layer_delta: jax.Array  # [layers]


class Outcome(NamedTuple):
    """What is kept of a trial. E is how often it was evaluated."""

    hits: jax.Array  # int32 [E]; a count, since compilers round the division differently from program to program
    test_loss: jax.Array  # [E]
    correct: jax.Array | None  # bool [M] at the last evaluation
    diverged: jax.Array  # bool
    weight_delta: jax.Array | None
    layer_delta: jax.Array


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The phases of one trial of a given design.

    Attributes:
      model, optimizer: what is trained, and how; `optimizer` is a function of the learning rate.
      image_shape, classes: (H, W, K) and C.
      batch_size, steps, eval_every: B, S, and how many updates lie between evaluations (a divisor of S).
      fold: train on the images as stored with the arm folded into the first layer, which is exact and lets all affine
        arms share one wide product; otherwise the arm is applied to each batch.
      keep_correct: also return which test images were classified correctly at the end.
    """

    model: Model
    optimizer: Optimizer
    image_shape: tuple[int, int, int]
    classes: int
    batch_size: int
    steps: int
    eval_every: int
    fold: bool
    keep_correct: bool = False

    def start(self, at: None, setting: Setting) -> Progress:
        """The initial weights W_begin, the same for every arm and learning rate."""
        params, state = self.model.init(keys.stream(setting.key, "init"), self.image_shape, self.classes)
        return Progress(params, state, self.optimizer(setting.learning_rate).init(params))

    def advance(self, at: Progress, setting: Setting, first_step: jax.Array, data: Data) -> Progress:
        """`eval_every` updates from step `first_step` on."""
        optimizer = self.optimizer(setting.learning_rate)
        shuffle, noise = keys.stream(setting.key, "shuffle"), keys.stream(setting.key, "model")
        steps = first_step + jnp.arange(self.eval_every, dtype=jnp.int32)
        batches = jax.vmap(lambda step: batch_indices(shuffle, step, self.batch_size, data.x_train.shape[0]))(steps)

        def update(at: Progress, now: tuple[jax.Array, jax.Array]) -> tuple[Progress, None]:
            step, batch = now
            images, labels = data.x_train[batch], data.y_train[batch]

            def loss(params: Any) -> tuple[jax.Array, Any]:
                params, pixels = self._folded(params, setting.arm), self._shown(images, setting.arm)
                key = jax.random.fold_in(noise, step)
                logits, state = self.model.apply(params, at.state, pixels, train=True, key=key)
                return cross_entropy(logits, labels).mean(), state

            gradient, state = jax.grad(loss, has_aux=True)(at.params)
            change, optimizer_state = optimizer.update(gradient, at.optimizer, at.params)
            return Progress(optax.apply_updates(at.params, change), state, optimizer_state), None

        return lax.scan(update, at, (steps, batches))[0]

    def evaluate(self, at: Progress, setting: Setting, data: Data) -> Look:
        """Hits and mean loss over all test images, tile by tile."""
        params = self._folded(at.params, setting.arm)
        if data.pixels is not None:
            params = self._narrowed(params, data.pixels)

        def tile(params: Any, totals: tuple[jax.Array, jax.Array], part: Tiles) -> Any:
            pixels = self._shown(part.images, setting.arm)
            logits, _ = self.model.apply(params, at.state, pixels, train=False, key=None)
            correct = jnp.argmax(logits, axis=-1) == part.labels
            loss = jnp.where(part.labels >= 0, cross_entropy(logits, jnp.maximum(part.labels, 0)), 0.0)
            totals = totals[0] + jnp.sum(correct, dtype=jnp.int32), totals[1] + jnp.sum(loss)
            return totals, correct if self.keep_correct else None

        totals = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32)
        answers = []
        for part in data.test:
            lit = params if data.pixels is None else self._narrowed(params, slice(part.images.shape[2]))
            totals, correct = lax.scan(partial(tile, lit), totals, part)
            answers.append(correct)
        hits, loss = totals
        correct = jnp.concatenate([a.reshape(-1) for a in answers])[data.place] if self.keep_correct else None
        return Look(hits, loss / np.float32(len(data.place)), correct)

    def change(self, at: Progress, setting: Setting) -> Change:
        """W_end against W_begin; the beginning is made again from the key rather than carried along."""
        begin, _ = self.model.init(keys.stream(setting.key, "init"), self.image_shape, self.classes)
        pixels = None
        if self.model.pixel_weights is not None:
            pixels = weight_change.weight_delta(
                *(self.model.pixel_weights(p, self.image_shape) for p in (begin, at.params))
            )
        return Change(pixels, weight_change.layer_delta(begin, at.params))

    def diverged(self, test_loss: jax.Array) -> jax.Array:
        """Whether some evaluation's loss ([..., E]) is not finite, or a thousand times that of guessing."""
        return ~jnp.all(test_loss <= DIVERGED_LOSS * math.log(self.classes), axis=-1)  # NaN compares false

    def _folded(self, params: Any, arm: Arm) -> Any:
        """The weights that see images as stored, where the arm is folded into them."""
        if not self.fold:
            return params
        assert self.model.fold is not None
        return self.model.fold(params, arm.scale, arm.offset)

    def _shown(self, images: jax.Array, arm: Arm) -> jax.Array:
        """The images as the network is shown them, float32."""
        pixels = images.astype(jnp.float32)
        return pixels if self.fold else pixels * arm.scale[None] + arm.offset[None]

    def _narrowed(self, params: Any, pixels: jax.Array | slice) -> Any:
        """Folded weights, of some of the pixels that they see."""
        assert self.fold
        assert self.model.narrow is not None
        return self.model.narrow(params, pixels)


def whole_trial(
    trial: Trial,
    setting: Setting,
    data: Data,
    *,
    each: Callable[..., Any] = lambda phase: phase,
    together: Callable[..., Any] = lambda phase: phase,
) -> Outcome:
    """A trial from its setting to its outcome.

    Left alone, it is one trial: one key, one learning rate, one arm, and an `Outcome` of the shapes that it states.
    To make many, `each` and `together` turn a phase, `(at, setting, *shared) -> ...`, into one over more axes of `at`
    and `setting`: `each` for the training, `together` for what is cheaper as one wide product over many trials.
    """
    at = each(trial.start)(None, setting)

    def look(at: Progress, first_step: jax.Array) -> tuple[Progress, Look]:
        at = each(trial.advance)(at, setting, first_step, data)
        return at, together(trial.evaluate)(at, setting, data)

    at, looks = lax.scan(look, at, jnp.arange(0, trial.steps, trial.eval_every, dtype=jnp.int32))
    hits, test_loss = (jnp.moveaxis(a, 0, -1) for a in (looks.hits, looks.test_loss))
    correct = None if looks.correct is None else looks.correct[-1]
    change = each(trial.change)(at, setting)
    return Outcome(hits, test_loss, correct, trial.diverged(test_loss), change.weight_delta, change.layer_delta)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log softmax(logits)[label], in nats: [B] from logits [B, C] and labels in [0, C).

    Not finite where a logit is NaN or infinite.
    """
    z = logits.T  # class-major, so that sums over classes add up whole vectors of images
    highest = lax.stop_gradient(jnp.max(z, axis=0))
    spread = jnp.log(jnp.sum(jnp.exp(z - highest[None, :]), axis=0))
    chosen = labels[None, :] == jnp.arange(len(z))[:, None]  # a comparison: gathers are slow on CPUs
    return highest + spread - jnp.sum(jnp.where(chosen, z, 0.0), axis=0)
