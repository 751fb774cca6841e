"""One trial: from a key to what a network learned. Unbatched and pure; whoever wants many maps it from outside.

A trial initialises a network, trains it by minibatch gradient descent, and evaluates it every `eval_every` updates:

    state = trial.init(key, learning_rate)
    repeat:  state = trial.train(state, …)        `eval_every` updates, each on the next batch of shuffled epochs
             metrics, predictions = trial.evaluate(state, …)    on all test images
    change = trial.weight_change(state, key)      how far the weights moved

`Trial.run` strings these together for one trial. The engine maps each of them over learning rates, arms and trials.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxinv.models import BoundModel, targets
from jaxinv.training import keys, optimizers
from jaxinv.training.augmentation import Augment
from jaxinv.training.evaluate import EvalMetrics, Metric, evaluate
from jaxinv.training.examples import noisy_labels, training_batches
from jaxinv.training.inputs import Affine, Data, network_inputs
from jaxinv.training.losses import Loss, cross_entropy
from jaxinv.training.optimizers import Optimizer
from jaxinv.training.weight_change import layer_delta, weight_delta

# a mean cross-entropy a thousand times that of guessing, log C, is no longer a matter of learning slowly
DIVERGED_LOSS = 1000.0
STATISTICS_IMAGES = 1000  # training images whose statistics batch normalisation is given, where these are recomputed


class TrainState(NamedTuple):
    """A network between updates."""

    params: Any
    model_state: Any  # batch statistics and the like
    opt_state: Any


class WeightChange(NamedTuple):
    """How far the weights moved between the first and the last step."""

    weight_delta: jax.Array | None  # [H, W, K], where the first layer reads pixels directly
    layer_delta: jax.Array  # [layers]


class TrialResult(NamedTuple):
    """What is kept of a trial. E is how often it was evaluated."""

    hits: jax.Array  # int32 [E]; a count, since compilers round the division differently from program to program
    train_loss: jax.Array  # [E], mean over the updates since the evaluation before
    test_loss: jax.Array  # [E]
    metrics: dict[str, jax.Array]  # [E] each, means over the test images, by name
    predictions: jax.Array | None  # int16 [M] at the last evaluation, where asked for
    transfer: EvalMetrics | None  # [test arms], in the end, where there are such
    networks: tuple[Any, Any] | None  # parameters and model state in the end, where asked for
    diverged: jax.Array  # bool
    weight_delta: jax.Array | None
    layer_delta: jax.Array


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What all trials of one program have in common, and how one of them runs.

    Attributes:
      model, optimizer: what is trained, and how; `optimizer` is a function of the learning rate.
      loss: what training minimises, the mean over a batch of (logits [B, C], labels [B]) -> [B].
      augment: changes each batch as stored; None: nothing does.
      batch_size, steps, eval_every: B, S, and how many updates lie between evaluations (a divisor of S).
      train_examples: the size of the random subset that the trial is trained on; None: all N.
      label_noise: share of the training labels that are replaced.
      recompute: before each evaluation, compute the statistics of batch normalisation anew.
      fold: fold the affine preprocessing into the first layer, which then reads the images as stored. That is exact,
        and lets all affine preprocessings share one wide product. Otherwise it is applied to each batch.
      preprocess: (params, images) -> images, applied to each batch of stored images, where the preprocessing is not
        affine and has to come after an augmentation; None where `Data` holds what it gives.
      metrics: further ones of the test images, (logits [B, C], labels [B]) -> [B], as (name, function).
      transfer_folds: for each of `Data.transfers`, whether its affine preprocessing is folded into the first layer.
      keep_predictions: also return the class that each test image is taken for in the end.
      keep_networks: also return the parameters and the model state in the end.
    """

    model: BoundModel
    optimizer: Optimizer
    loss: Loss = cross_entropy
    augment: Augment | None = None
    batch_size: int
    train_examples: int | None = None
    label_noise: float = 0.0
    recompute: bool = False
    steps: int
    eval_every: int
    fold: bool
    preprocess: Callable[[Any, jax.Array], jax.Array] | None = None
    metrics: tuple[tuple[str, Metric], ...] = ()
    transfer_folds: tuple[bool, ...] = ()
    keep_predictions: bool = False
    keep_networks: bool = False

    def init(self, key: jax.Array, learning_rate: jax.Array) -> TrainState:
        """The initial weights W_begin, the same under every arm and learning rate."""
        params, model_state = self.model.init(keys.stream(key, "init"))
        return TrainState(params, model_state, self.optimizer(learning_rate).init(params))

    def train(
        self,
        state: TrainState,
        key: jax.Array,
        affine: Affine,
        learning_rate: jax.Array,
        first_step: jax.Array,
        data: Data,
    ) -> tuple[TrainState, jax.Array]:
        """`eval_every` updates from step `first_step` on; the mean of their losses."""
        optimizer = self.optimizer(learning_rate)
        steps = first_step + jnp.arange(self.eval_every, dtype=jnp.int32)
        batches = training_batches(key, steps, self.batch_size, len(data.x_train), self.train_examples)
        labels = self._labels(key, batches, data) if targets.current().labels_first else None

        def update(state: TrainState, now: tuple[Any, ...]) -> tuple[TrainState, jax.Array]:
            step, batch, labels = now
            labels = self._labels(key, batch, data) if labels is None else labels
            images = self._images(key, step, batch, data)
            noise = jax.random.fold_in(keys.stream(key, "model"), step)

            def objective(params: Any) -> tuple[jax.Array, Any]:
                params, left = self._folded(params, affine)
                inputs = network_inputs(images, left, bfloat16=self.model.built_in)
                logits, model_state = self.model.apply(params, state.model_state, inputs, train=True, key=noise)
                return self.loss(logits, labels).mean(), model_state

            (loss, model_state), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
            extra = {"value": loss, "grad": gradient, "value_fn": lambda params: objective(params)[0]}
            updates, opt_state = optimizers.update(optimizer, gradient, state.opt_state, state.params, **extra)
            return TrainState(optax.apply_updates(state.params, updates), model_state, opt_state), loss

        state, losses = lax.scan(update, state, (steps, batches, labels), unroll=targets.current().unroll)
        if self.recompute:
            state = state._replace(model_state=self._recomputed(state, key, affine, data))
        return state, losses.mean()

    def _recomputed(self, state: TrainState, key: jax.Array, affine: Affine, data: Data) -> Any:
        """The model state with statistics of the trial's first training images; training itself never reads them."""
        count = min(STATISTICS_IMAGES, self.train_examples or len(data.x_train))
        first = jnp.zeros(1, jnp.int32)
        (chosen,) = training_batches(key, first, count, len(data.x_train), self.train_examples)
        images = data.x_train[chosen].reshape(-1, *self.model.image_shape)
        if self.preprocess is not None:
            images = self.preprocess(data.preprocess_params, images)
        params, left = self._folded(state.params, affine)
        inputs = network_inputs(images, left, bfloat16=self.model.built_in)
        return self.model.recompute(params, state.model_state, inputs)

    def evaluate(self, state: TrainState, affine: Affine, data: Data) -> tuple[EvalMetrics, jax.Array | None]:
        """Metrics over all test images, and the class that each is taken for, int16 [M], where that is kept."""
        params, left = self._folded(state.params, affine)
        metrics, keep = dict(self.metrics), self.keep_predictions
        return evaluate(self.model, params, state.model_state, left, data.test, metrics=metrics, keep_predictions=keep)

    def transfer(self, state: TrainState, data: Data) -> EvalMetrics | None:
        """Metrics over the test images under each of the other preprocessings, stacked; None where there is none."""
        found = []
        for fold, (affine, test) in zip(self.transfer_folds, data.transfers, strict=True):
            params, left = (self.model.fold(state.params, *affine), None) if fold else (state.params, affine)
            found.append(evaluate(self.model, params, state.model_state, left, test)[0])
        return jax.tree.map(lambda *values: jnp.stack(values), *found) if found else None

    def weight_change(self, state: TrainState, key: jax.Array) -> WeightChange:
        """W_end against W_begin; the beginning is made again from the key rather than carried along."""
        begin, _ = self.model.init(keys.stream(key, "init"))
        first, last = self.model.pixel_weights(begin), self.model.pixel_weights(state.params)
        by_pixel = None if first is None or last is None else weight_delta(first, last)
        return WeightChange(by_pixel, layer_delta(begin, state.params))

    def result(
        self,
        state: TrainState,
        train_loss: jax.Array,
        metrics: EvalMetrics,
        predictions: jax.Array | None,
        transfer: EvalMetrics | None,
        change: WeightChange,
    ) -> TrialResult:
        """What is kept of a trial, from its losses and metrics at E evaluations, stacked along the first axis."""
        train_loss, metrics = jax.tree.map(lambda a: jnp.moveaxis(a, 0, -1), (train_loss, metrics))
        return TrialResult(
            hits=metrics.hits,
            train_loss=train_loss,
            test_loss=metrics.test_loss,
            metrics=metrics.means,
            predictions=predictions,
            transfer=transfer,
            networks=(state.params, state.model_state) if self.keep_networks else None,
            diverged=self.diverged(metrics.test_loss),
            weight_delta=change.weight_delta,
            layer_delta=change.layer_delta,
        )

    def diverged(self, test_loss: jax.Array) -> jax.Array:
        """Whether some evaluation's loss ([..., E]) is not finite, or a thousand times that of guessing."""
        return ~jnp.all(test_loss <= DIVERGED_LOSS * math.log(self.model.classes), axis=-1)  # NaN compares false

    def run(self, key: jax.Array, affine: Affine, learning_rate: jax.Array, data: Data) -> TrialResult:
        """One whole trial."""

        def train_and_evaluate(carry: tuple[TrainState, Any], first_step: jax.Array) -> tuple[Any, Any]:
            state, train_loss = self.train(carry[0], key, affine, learning_rate, first_step, data)
            metrics, predictions = self.evaluate(state, affine, data)
            return (state, predictions), (train_loss, metrics)

        begin = self.init(key, learning_rate), self.no_predictions(data)
        (state, predictions), (train_loss, metrics) = lax.scan(train_and_evaluate, begin, self.first_steps)
        change = self.weight_change(state, key)
        return self.result(state, train_loss, metrics, predictions, self.transfer(state, data), change)

    def no_predictions(self, data: Data) -> jax.Array | None:
        """What stands for predictions before the first evaluation."""
        return jnp.zeros(len(data.test.position), jnp.int16) if self.keep_predictions else None

    @property
    def first_steps(self) -> jax.Array:
        """The steps from which each stretch of training between two evaluations begins: int32 [E]."""
        return jnp.arange(0, self.steps, self.eval_every, dtype=jnp.int32)

    def _labels(self, key: jax.Array, batch: jax.Array, data: Data) -> jax.Array:
        """The labels of some examples."""
        labels = data.y_train[batch]
        if self.label_noise:
            labels = noisy_labels(key, batch, labels, self.label_noise, len(data.x_train), self.model.classes)
        return labels

    def _images(self, key: jax.Array, step: jax.Array, batch: jax.Array, data: Data) -> jax.Array:
        """The images of one step."""
        images = data.x_train[batch].reshape(-1, *self.model.image_shape)
        if self.augment is not None:
            images = self.augment(jax.random.fold_in(keys.stream(key, "augment"), step), images)
        if self.preprocess is not None:
            images = self.preprocess(data.preprocess_params, images)
        return images

    def _folded(self, params: Any, affine: Affine) -> tuple[Any, Affine | None]:
        """Parameters that read images as stored and no preprocessing left to apply; or both as they are."""
        return (self.model.fold(params, *affine), None) if self.fold else (params, affine)
