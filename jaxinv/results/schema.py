"""What a run's results are, on disk or in memory: names, shapes, blocks of trials, the sum of weight changes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from jaxinv.results.selection import AXES, PIXELS


class Variable(NamedTuple):
    """What the results say of one variable.

    Attributes:
      dims: its dimensions.
      dtype: its type.
      fill: what stands for a trial that is not there.
      long_name: what it is, in words, for readers and axes.
      units: "1" where it has none.
    """

    dims: tuple[str, ...]
    dtype: str
    fill: float | bool
    long_name: str
    units: str = "1"

    @property
    def attrs(self) -> dict[str, Any]:
        """Its attributes, by the CF conventions."""
        return {"long_name": self.long_name, "units": self.units}


TRIAL = AXES[:3]
PER_TRIAL = {
    "accuracy": Variable(AXES, "float32", np.nan, "share of the test images that are classified right"),
    "test_loss": Variable(AXES, "float32", np.nan, "mean cross-entropy over the test images"),
    "diverged": Variable(TRIAL, "bool", False, "whether the training diverged"),
    "layer_delta": Variable(
        (*TRIAL, "layer"), "float32", np.nan, "change of a layer's weights, relative to their start"
    ),
    "train_loss": Variable(AXES, "float32", np.nan, "mean training loss over the updates since the last evaluation"),
    "transfer_accuracy": Variable(
        (*TRIAL, "test_arm"), "float32", np.nan, "accuracy on test images under another arm's preprocessing"
    ),
    "transfer_loss": Variable(
        (*TRIAL, "test_arm"), "float32", np.nan, "mean cross-entropy under another arm's preprocessing"
    ),
    "correct": Variable((*TRIAL, "image"), "bool", False, "whether a test image is classified right in the end"),
    "predictions": Variable((*TRIAL, "image"), "int16", -1, "class that a test image is taken for in the end"),
    "confusion": Variable(
        (*TRIAL, "label", "prediction"), "int32", 0, "test images of each class, by the class they are taken for"
    ),
}
"""What may be kept of every trial, with dims arm, learning_rate, trial and others."""

FIRST_KEPT = ("accuracy", "test_loss", "diverged", "layer_delta")
"""What jaxinv 0.1.0 kept; its folders do not say so."""
ALWAYS_KEPT = (*FIRST_KEPT, "train_loss")
TRANSFER = ("transfer_accuracy", "transfer_loss")
OVERALL = {
    "weight_delta": Variable(
        ("arm", "learning_rate", *PIXELS),
        "float32",
        np.nan,
        "largest change of a pixel's weights, mean over trials that did not diverge",
    ),
    "done": Variable(("trial",), "bool", False, "whether the trial is finished"),
}
"""The others."""

AXIS_ATTRS: dict[str, dict[str, Any]] = {
    "arm": {"long_name": "arm"},
    "learning_rate": {"long_name": "learning rate", "units": "1"},
    "trial": {"long_name": "trial", "units": "1"},
    "step": {"long_name": "updates made", "units": "1"},
    "layer": {"long_name": "layer"},
    "rate": {"long_name": "learning rate that was used", "units": "1"},
    "test_arm": {"long_name": "arm whose preprocessing the test images have"},
}
"""Attributes of the axes that have labels."""
SLAB_BYTES = 1 << 19  # what the caches of one core hold


class ParamArray(NamedTuple):
    """One array of the networks that some arms end with, all of one form.

    Attributes:
      form: a number for the networks of one form; arms of one model share it.
      arms: positions of its arms among the study's.
      leaf: which array: `params.first.weight`, or `state.…` for batch statistics and the like.
      shape, dtype: of one network's.
    """

    form: int
    arms: tuple[int, ...]
    leaf: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def name(self) -> str:
        """What the results call it."""
        return f"network.{self.form}.{self.leaf}"

    def variable(self, arms: int) -> Variable:
        """As a variable of results with so many arms: (arms of this form, learning_rate, trial, its own axes)."""
        arm = "arm" if len(self.arms) == arms else f"arm_{self.form}"
        own = tuple(f"{self.form}.{self.leaf}.{axis}" for axis in range(len(self.shape)))
        fill = np.nan if np.issubdtype(np.dtype(self.dtype), np.floating) else 0
        return Variable((arm, "learning_rate", "trial", *own), self.dtype, fill, f"{self.leaf} in the end")


class ResultBlock(NamedTuple):
    """Results of n consecutive trials.

    Attributes:
      values: an array [A, L, n, …] for each variable that the schema keeps of a trial, by name.
      weight_delta: float32 [A, L, n, H, W, K], or None where the first layer does not read pixels directly.
    """

    values: Mapping[str, np.ndarray]
    weight_delta: np.ndarray | None = None

    @property
    def trials(self) -> int:
        """n."""
        return self.values["diverged"].shape[2]

    def part(self, start: int, stop: int) -> "ResultBlock":
        """The trials from `start` to before `stop`."""
        weights = None if self.weight_delta is None else self.weight_delta[:, :, start:stop]
        return ResultBlock({name: values[:, :, start:stop] for name, values in self.values.items()}, weights)


def join(blocks: list[ResultBlock]) -> ResultBlock:
    """Blocks of consecutive trials as one."""
    if len(blocks) == 1:
        return blocks[0]
    values = {name: np.concatenate([block.values[name] for block in blocks], axis=2) for name in blocks[0].values}
    weights = [block.weight_delta for block in blocks if block.weight_delta is not None]
    return ResultBlock(values, np.concatenate(weights, axis=2) if weights else None)


@dataclass(frozen=True)
class Schema:
    """The axes of a run's results, and what is kept of each trial.

    Attributes:
      arms: names, A of them.
      learning_rates: L of them.
      steps: how many updates had been made at each of the E evaluations.
      layers: names of the layers whose change is kept.
      image_shape: (H, W, K).
      pixel_weights: whether the first layer reads pixels directly, so that there is a `weight_delta`.
      trials: T.
      kept: names of `PER_TRIAL` that are kept of each trial.
      metrics: names of the user's metrics, which are kept too.
      metric_fingerprints: what tells their functions from others.
      test_arms: names of the preprocessings under which each network is tested as well.
      test_images, classes: M and C, where something kept has such an axis; otherwise 0.
      params: arrays of the networks, where they are kept.
    """

    arms: tuple[str, ...]
    learning_rates: tuple[float, ...]
    steps: tuple[int, ...]
    layers: tuple[str, ...]
    image_shape: tuple[int, int, int]
    pixel_weights: bool
    trials: int
    kept: tuple[str, ...] = FIRST_KEPT
    metrics: tuple[str, ...] = ()
    metric_fingerprints: tuple[str, ...] = ()
    test_arms: tuple[str, ...] = ()
    test_images: int = 0
    classes: int = 0
    params: tuple[ParamArray, ...] = ()

    def with_trials(self, trials: int) -> "Schema":
        """The same axes with another number of trials."""
        return replace(self, trials=trials)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, without the number of trials; what is as 0.1.0 had it is left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "trials"}
        defaults = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in values.items() if value != defaults[name]}

    @classmethod
    def from_dict(cls, axes: Mapping[str, Any], trials: int) -> "Schema":
        """The schema of what `to_dict` gave."""
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in axes.items()}
        arrays = tuple(
            ParamArray(form, tuple(arms), leaf, tuple(shape), dtype)
            for form, arms, leaf, shape, dtype in plain.pop("params", ())
        )
        return cls(**plain, trials=trials, params=arrays)

    @cached_property
    def per_trial(self) -> dict[str, Variable]:
        """What is kept of every trial, by name, but for the networks."""
        means = {name: f"{name}, mean over the test images" for name in self.metrics}
        own = {name: Variable(AXES, "float32", np.nan, long_name) for name, long_name in means.items()}
        return {name: PER_TRIAL[name] for name in self.kept} | own

    @cached_property
    def by_trial(self) -> dict[str, Variable]:
        """What is kept of every trial, by name, with the networks."""
        return self.per_trial | {array.name: array.variable(len(self.arms)) for array in self.params}

    @cached_property
    def variables(self) -> dict[str, Variable]:
        """Every variable of a stored run, by name."""
        overall = {name: v for name, v in OVERALL.items() if name != "weight_delta" or self.pixel_weights}
        return self.by_trial | overall

    @cached_property
    def _sizes(self) -> dict[str, int]:
        sizes = dict(zip(PIXELS, self.image_shape, strict=True))
        sizes |= {"arm": len(self.arms), "learning_rate": len(self.learning_rates), "step": len(self.steps)}
        sizes |= {"layer": len(self.layers), "test_arm": len(self.test_arms), "image": self.test_images}
        sizes |= {"label": self.classes, "prediction": self.classes}
        for array in self.params:
            dims = array.variable(len(self.arms)).dims
            sizes |= {dims[0]: len(array.arms), **dict(zip(dims[3:], array.shape, strict=True))}
        return sizes

    def networks_of(self, arm: int) -> tuple[ParamArray, ...]:
        """The arrays of the networks of the arm at this position; none where they are not kept."""
        return tuple(array for array in self.params if arm in array.arms)

    def shape(self, name: str, trials: int) -> tuple[int, ...]:
        """A variable's shape over so many trials."""
        sizes = {**self._sizes, "trial": trials}
        return tuple(sizes[dim] for dim in self.variables[name].dims)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(A, L, H, W, K)."""
        return len(self.arms), len(self.learning_rates), *self.image_shape

    def coords(self) -> dict[str, np.ndarray]:
        """The labels of every labelled axis."""
        labels = {
            "arm": np.array(self.arms, dtype=str),
            "learning_rate": np.array(self.learning_rates, dtype=np.float64),
            "trial": np.arange(self.trials, dtype=np.int64),
            "step": np.array(self.steps, dtype=np.int64),
            "layer": np.array(self.layers, dtype=str),
        }
        return labels | ({"test_arm": np.array(self.test_arms, dtype=str)} if self.test_arms else {})

    def empty(self, name: str, trials: int) -> np.ndarray:
        """Room for so many trials, filled with what stands for "not there"."""
        variable = self.variables[name]
        return np.full(self.shape(name, trials), variable.fill, variable.dtype)

    def nbytes(self, name: str) -> int:
        """Size of a variable over all trials."""
        return math.prod(self.shape(name, self.trials)) * np.dtype(self.variables[name].dtype).itemsize

    def check(self, block: ResultBlock) -> int:
        """How many trials a block has; ValueError where its arrays do not fit these axes."""
        trials = np.shape(block.values["diverged"])[2]
        if set(block.values) != set(self.by_trial):
            raise ValueError(f"values of {', '.join(block.values)}, not of {', '.join(self.by_trial)}")
        for name, values in block.values.items():
            found, needed = np.shape(values), self.shape(name, trials)
            if found != needed:
                raise ValueError(f"{name} has shape {found}, not {needed}")
        if (block.weight_delta is not None) != self.pixel_weights:
            raise ValueError("weight_delta is needed exactly where the first layer reads pixels")
        if block.weight_delta is not None:
            needed = (*self.weight_shape[:2], trials, *self.image_shape)
            if np.shape(block.weight_delta) != needed:
                raise ValueError(f"weight_delta has shape {np.shape(block.weight_delta)}, not {needed}")
        return trials


@dataclass(frozen=True, eq=False)
class WeightSum:
    """Sum of the weight changes of the trials that did not diverge: float64 [A, L, H, W, K]; their number: [A, L]."""

    total: np.ndarray
    count: np.ndarray

    @classmethod
    def zero(cls, schema: Schema) -> "WeightSum":
        """The sum over no trials."""
        shape = schema.weight_shape if schema.pixel_weights else (*schema.weight_shape[:2], 0, 0, 0)
        return cls(np.zeros(shape), np.zeros(shape[:2], np.int64))

    def add(self, block: ResultBlock) -> "WeightSum":
        """The sum with a block's trials added one after the other.

        Float addition is not associative. Adding strictly in the order of the trials gives the same bits however the
        trials come in, so a run that was interrupted or grown ends with the numbers of one that was not.
        NumPy adds pairwise only along the fastest axis in memory; the extra column keeps the trial axis from being it.
        """
        keep = ~np.asarray(block.values["diverged"])
        count = self.count + keep.sum(axis=2)
        if block.weight_delta is None:
            return WeightSum(self.total, count)
        pixels = math.prod(self.total.shape[2:])
        total = self.total.reshape(-1, pixels).copy()
        delta = np.asarray(block.weight_delta).reshape(len(total), -1, pixels)
        slab = max(1, SLAB_BYTES // (8 * (pixels + 1)))
        rows = np.zeros((slab + 1, pixels + 1))
        for part, alive, each in zip(total, keep.reshape(len(total), -1), delta, strict=True):
            for start in range(0, len(each), slab):
                chosen = alive[start : start + slab]
                used = rows[: len(chosen) + 1]
                used[0, :pixels] = part
                used[1:, :pixels] = each[start : start + slab]
                used[1:][~chosen] = 0.0
                part[:] = np.add.reduce(used, axis=0)[:pixels]
        return WeightSum(total.reshape(self.total.shape), count)

    def __add__(self, other: "WeightSum") -> "WeightSum":
        return WeightSum(self.total + other.total, self.count + other.count)

    def mean(self) -> np.ndarray:
        """float32 [A, L, H, W, K]; NaN where every trial diverged."""
        count = self.count[:, :, None, None, None]
        mean = np.divide(self.total, count, out=np.full(self.total.shape, np.nan), where=count > 0)
        return mean.astype(np.float32)
