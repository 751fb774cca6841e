"""A job: everything a contender needs to train from, and the arithmetic that training takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Arm:
    """The network is shown `scale * x + offset` for stored grey values x, 0 to 255."""

    name: str
    scale: float
    offset: float


ARMS = {
    "normal": Arm(name="normal", scale=1 / 255, offset=0.0),
    "inverted": Arm(name="inverted", scale=-1 / 255, offset=1.0),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """T trials of S steps of plain SGD under each of A arms, each then evaluated on every test image.

    Trial t starts from `initial[...][t]` and sees `batches[t]` under every arm. Axis letters: A arms, T trials,
    S steps, B batch, N training and M test examples, H W K image, C classes, D = H·W·K.

    Attributes:
      model: "softmax" (from zero), "mlp" (D-128-C, ReLU) or "cnn".
      x_train, x_test: uint8 [N, H, W, K] and [M, H, W, K].
      y_train, y_test: integers [N] and [M].
      batches: integers [T, S, B]: rows of the training set.
      arms: A of them.
      learning_rate: of the SGD.
      initial: weights by name, each with a leading trial axis: dense ones [T, outputs, inputs], kernels
        [T, outputs, inputs, 3, 3]. What a dense layer reads of a convolution is in the order channel, row, column.
    """

    model: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    batches: np.ndarray
    arms: tuple[Arm, ...]
    learning_rate: float
    initial: Mapping[str, np.ndarray]
    _pixels: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    @property
    def trials(self) -> int:
        return self.batches.shape[0]

    @property
    def steps(self) -> int:
        return self.batches.shape[1]

    @property
    def batch_size(self) -> int:
        return self.batches.shape[2]

    @property
    def classes(self) -> int:
        return int(self.y_train.max()) + 1

    @property
    def image_shape(self) -> tuple[int, int, int]:
        _, height, width, channels = self.x_train.shape
        return height, width, channels

    def pixels(self, arm: Arm) -> tuple[np.ndarray, np.ndarray]:
        """Training and test images as the arm shows them, float32 [N, H, W, K]; made once and shared."""
        if arm.name not in self._pixels:
            scale, offset = np.float32(arm.scale), np.float32(arm.offset)
            self._pixels[arm.name] = (self.x_train * scale + offset, self.x_test * scale + offset)
        return self._pixels[arm.name]

    def shortened(self, trials: int, steps: int) -> "Job":
        """The first trials and steps of this job."""
        initial = {name: value[:trials] for name, value in self.initial.items()}
        return replace(self, batches=self.batches[:trials, :steps], initial=initial)


def random_batches(trials: int, steps: int, batch_size: int, examples: int, seed: int) -> np.ndarray:
    """Integers [T, S, B]: for each trial a walk through freshly shuffled epochs."""
    rng = np.random.default_rng(seed)
    epochs = -(-steps * batch_size // examples)
    walks = [np.concatenate([rng.permutation(examples) for _ in range(epochs)]) for _ in range(trials)]
    return np.stack(walks)[:, : steps * batch_size].reshape(trials, steps, batch_size).astype(np.int32)


def random_weights(
    model: str, image_shape: tuple[int, int, int], classes: int, trials: int, seed: int
) -> dict[str, np.ndarray]:
    """Starting weights by name: variance 1 / inputs, biases zero; none for "softmax", which starts from zero."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in weight_shapes(model, image_shape, classes).items():
        fan_in = int(np.prod(shape[1:]))
        values = (
            rng.normal(size=(trials, *shape)) / np.sqrt(fan_in)
            if name.endswith("weight")
            else np.zeros((trials, *shape))
        )
        weights[name] = values.astype(np.float32)
    return weights


def weight_shapes(model: str, image_shape: tuple[int, int, int], classes: int) -> dict[str, tuple[int, ...]]:
    """Shapes of one trial's starting weights.

    >>> weight_shapes("mlp", (28, 28, 1), 10)["first.weight"]
    (128, 784)
    """
    height, width, channels = image_shape
    if model == "softmax":
        return {}
    if model == "mlp":
        inputs = height * width * channels
        shapes = {"first.weight": (HIDDEN, inputs), "first.bias": (HIDDEN,)}
        return shapes | {"last.weight": (classes, HIDDEN), "last.bias": (classes,)}
    one, two = CHANNELS
    features = (height // 4) * (width // 4) * two
    shapes = {"first.weight": (one, channels, 3, 3), "first.bias": (one,), "second.weight": (two, one, 3, 3)}
    return shapes | {"second.bias": (two,), "last.weight": (classes, features), "last.bias": (classes,)}


HIDDEN = 128
CHANNELS = (8, 16)


def multiplications(model: str, image_shape: tuple[int, int, int], classes: int) -> tuple[int, ...]:
    """Multiply-adds per image and layer of one forward pass, first layer first.

    >>> multiplications("softmax", (28, 28, 1), 10)
    (7840,)
    """
    height, width, channels = image_shape
    inputs = height * width * channels
    if model == "softmax":
        return (inputs * classes,)
    if model == "mlp":
        return (inputs * HIDDEN, HIDDEN * classes)
    one, two = CHANNELS
    first = height * width * 9 * channels * one
    second = (height // 2) * (width // 2) * 9 * one * two
    return (first, second, (height // 4) * (width // 4) * two * classes)


@dataclass(frozen=True)
class Arithmetic:
    """Floating-point operations of a job in its matrix products and convolutions alone."""

    training: int
    evaluation: int

    @property
    def total(self) -> int:
        return self.training + self.evaluation


def arithmetic(job: Job) -> Arithmetic:
    """What the job cannot do without, at 2 operations a multiply-add.

    An update has in each layer a forward product, one for the weights' gradient, and, in all but the first, one for the
    inputs' gradient. An evaluation has the forward product.
    """
    first, *others = multiplications(job.model, job.image_shape, job.classes)
    networks = len(job.arms) * job.trials
    step = 2 * job.batch_size * (2 * first + 3 * sum(others))
    test = 2 * len(job.x_test) * (first + sum(others))
    return Arithmetic(networks * job.steps * step, networks * test)
