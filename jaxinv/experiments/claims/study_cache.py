"""Where claims get their trials: every study is run, or read, once, and serves all claims that ask for it."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from jaxinv import store, theory
from jaxinv.data import Dataset, load_dataset
from jaxinv.engine import runner
from jaxinv.engine.devices import local_hardware
from jaxinv.engine.keeping import NOTHING, Keeping
from jaxinv.engine.resolve import resolve
from jaxinv.engine.trial_runner import TrialRunner
from jaxinv.errors import InputError
from jaxinv.results.cells import Cell, best_rates, cell, mean_over_steps
from jaxinv.results.schema import join
from jaxinv.study import Study
from jaxinv.utils.files import local_path
from jaxinv.utils.progress import Report


class Sample(NamedTuple):
    """One figure a trial, and which of the trainings behind them diverged; those are included."""

    values: np.ndarray  # float64 [T]
    diverged: frozenset[tuple[str, str, float, int]]  # study, arm, learning rate, trial

    @property
    def mean(self) -> float:
        """Over trials."""
        return float(self.values.mean())


def count_diverged(*samples: Sample) -> int:
    """How many trainings diverged among those behind some samples, each counted once."""
    return len(frozenset().union(*(sample.diverged for sample in samples)))


@dataclass(frozen=True, eq=False)
class StudyResults:
    """The results of a study, by the name that claims know it by."""

    name: str
    results: xr.Dataset

    @property
    def trials(self) -> int:
        """How many there are."""
        return self.results.sizes["trial"]

    @property
    def steps(self) -> np.ndarray:
        """The evaluated steps [S]."""
        return np.asarray(self.results["step"].values)

    def accuracy(self, arm: str, rate: float | None = None) -> Sample:
        """Test accuracy at the last step; `rate`: where there are several."""
        return self._sample(cell(self.results, arm, learning_rate=rate))

    def mean_accuracy(self, arm: str) -> Sample:
        """Mean test accuracy over all evaluations of a trial, at the only learning rate."""
        return self._sample(cell(mean_over_steps(self.results), arm))

    def at_own_best(self, arm: str) -> tuple[float, Sample]:
        """An arm's best learning rate, chosen on the even trials, and its accuracy on the odd ones.

        A maximum over learning rates, taken and judged on the same trials, would flatter every arm, noisy ones most.
        """
        rate = best_rates(self.results.isel(trial=slice(0, None, 2)))[arm]
        return rate, self.odd().accuracy(arm, rate)

    def odd(self) -> "StudyResults":
        """The odd trials."""
        return StudyResults(self.name, self.results.isel(trial=slice(1, None, 2)))

    def accuracies(self, arm: str) -> np.ndarray:
        """Test accuracy of an arm [L, T, S]."""
        chosen = self.results["accuracy"].sel(arm=arm).transpose("learning_rate", "trial", "step")
        return chosen.values.astype(np.float64)

    def _sample(self, found: Cell) -> Sample:
        diverged = found.trials[found.diverged].tolist()
        return Sample(
            found.accuracy, frozenset((self.name, found.arm, found.learning_rate, trial) for trial in diverged)
        )


class PerTrial(NamedTuple):
    """What stored results keep no record of, trial by trial."""

    weight_delta: np.ndarray  # float32 [A, T, H, W, K]
    correct: np.ndarray  # bool [A, T, M]


class StudyCache:
    """Runs studies on one dataset, and remembers their results.

    Attributes:
      quick: with fewer trials. The studies are otherwise the same, so that a folder of quick runs can be grown.
      results, per_trial_results: name -> what is known of the studies that have been run.
    """

    def __init__(
        self,
        dataset: str | os.PathLike[str] | Dataset = "mnist",
        *,
        quick: bool = False,
        out: str | os.PathLike[str] | None = None,
        seed: int = 0,
        chunk: int | None = None,
        devices: int | None = None,
        progress: Report | bool | None = None,
        data_dir: str | None = None,
    ) -> None:
        self.dataset, self.quick, self.seed = dataset, quick, seed
        self.out = None if out is None else local_path("out", out)
        self.chunk, self.devices, self.progress, self.data_dir = chunk, devices, progress, data_dir
        self.results: dict[str, xr.Dataset] = {}
        self.per_trial_results: dict[str, PerTrial] = {}
        self._bounds: dict[str, float] = {}

    @cached_property
    def data(self) -> Dataset:
        """The dataset itself."""
        return load_dataset(self.dataset, data_dir=self.data_dir)

    def trials(self, quick: int, full: int) -> int:
        """How many trials, one figure for each mode."""
        return quick if self.quick else full

    def study(self, **fields: Any) -> Study:
        """A study at the tutorial's settings, but for some fields: softmax regression, SGD at 0.5, batches of 100, 50
        updates, normal against inverted."""
        batch = min(100, len(self.data.x_train))
        return Study(**{"dataset": self.dataset, "seed": self.seed, "batch_size": batch} | fields)

    def run(self, name: str, study: Study) -> StudyResults:
        """The results of a study, stored in a folder of that name where results are stored at all."""
        if name not in self.results:
            folder = None if self.out is None else self.out / name
            self.results[name] = runner.run(
                study.replace(trials=max(study.trials, stored_trials(folder))),
                out=folder,
                chunk=self.chunk,
                devices=self.devices,
                progress=self.progress,
                data_dir=self.data_dir,
            )
        return StudyResults(name, self.results[name])

    def per_trial(self, name: str, study: Study) -> PerTrial:
        """A study's weight changes and correct answers trial by trial, at its only learning rate; in memory."""
        if name not in self.per_trial_results:
            trial_runner = self._trial_runner(study, Keeping(("correct",)))
            blocks = list(trial_runner.run([range(study.trials)]))
            whole = join(blocks)
            assert whole.weight_delta is not None  # of softmax regression
            self.per_trial_results[name] = PerTrial(whole.weight_delta[:, 0], whole.values["correct"][:, 0])
        return self.per_trial_results[name]

    def trainer(self, study: Study) -> Callable[[], object]:
        """A function that computes all trials of a study and keeps nothing; its first call compiles."""
        trial_runner = self._trial_runner(study)
        return lambda: list(trial_runner.run([range(study.trials)]))

    def _trial_runner(self, study: Study, keeping: Keeping = NOTHING) -> TrialRunner:
        return TrialRunner(resolve(study, data_dir=self.data_dir), local_hardware(self.devices), self.chunk, keeping)

    def bound(self, arm: str) -> float:
        """The learning rate up to which gradient descent is stable at the start of softmax regression under an arm; NaN
        for images in which there is nothing."""
        if arm not in self._bounds:
            found = theory.compute_sharpness(self.data, arm).max_stable_learning_rate
            self._bounds[arm] = float("nan") if found is None else found
        return self._bounds[arm]


def stored_trials(folder: Path | None) -> int:
    """How many trials a folder was made for; 0 where there is none. A run can grow, but not shrink."""
    if folder is None:
        return 0
    try:
        return store.planned_trials(folder)
    except InputError:  # something else is there: the runner says so, before it touches anything
        return 0


def octaves(low: float, high: float, per_octave: int = 1) -> tuple[float, ...]:
    """Learning rates from `low` to `high`, a factor of 2 apart (or so many between).

    >>> octaves(0.5, 4)
    (0.5, 1.0, 2.0, 4.0)
    """
    count = round(math.log2(high / low) * per_octave) + 1
    return tuple(low * 2.0 ** (k / per_octave) for k in range(count))
