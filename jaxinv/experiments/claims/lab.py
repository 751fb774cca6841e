"""Where claims get their trials: every study is run, or read, once and serves all claims that ask for it."""

import math
import os
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from jaxinv import store, theory
from jaxinv.data import Dataset, load_dataset
from jaxinv.engine import runner
from jaxinv.engine.devices import local_devices
from jaxinv.engine.resolve import resolve
from jaxinv.engine.trial_runner import TrialRunner
from jaxinv.errors import InputError
from jaxinv.preprocess import Preprocess
from jaxinv.study import Study
from jaxinv.utils.progress import Report


class Apart(NamedTuple):
    """What stored results keep no record of, trial by trial."""

    weight_delta: np.ndarray  # float32 [A, T, H, W, K]
    correct: np.ndarray  # bool [A, T, N]


class Lab:
    """Runs studies on one dataset, and remembers them.

    Attributes:
      quick: with fewer trials. The studies are otherwise the same, so that a folder of quick runs can be grown.
      results, taken_apart: name -> what is known of the studies that have been run.
      diverged: how many trainings that diverged have entered figures since this was last set to 0.
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
        self.out = None if out is None else Path(out)
        self.chunk, self.devices, self.progress, self.data_dir = chunk, devices, progress, data_dir
        self.results: dict[str, xr.Dataset] = {}
        self.diverged = 0
        self.taken_apart: dict[str, Apart] = {}
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

    def run(self, name: str, study: Study) -> xr.Dataset:
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
        return self.results[name]

    def apart(self, name: str, study: Study) -> Apart:
        """A study's weight changes and correct answers trial by trial, at its only learning rate; in memory."""
        if name not in self.taken_apart:
            worker = self.worker(study, per_image=True)
            blocks = list(worker.run(range(study.trials)))
            moved = [block.weight_delta for block in blocks if block.weight_delta is not None]
            correct = np.concatenate(worker.correct, axis=2)
            self.taken_apart[name] = Apart(np.concatenate(moved, axis=2)[:, 0], correct[:, 0])
        return self.taken_apart[name]

    def worker(self, study: Study, *, per_image: bool = False) -> TrialRunner:
        """What computes a study's trials, for those who want them call by call."""
        resolved = resolve(study, data_dir=self.data_dir)
        return TrialRunner(resolved, local_devices(self.devices), self.chunk, per_image)

    def bound(self, arm: str) -> float:
        """The learning rate up to which gradient descent is stable at the start of softmax regression under an arm; NaN
        for images in which there is nothing."""
        if arm not in self._bounds:
            found = theory.compute_sharpness(self.data, arm).max_stable_learning_rate
            self._bounds[arm] = float("nan") if found is None else found
        return self._bounds[arm]

    def accuracy(self, results: xr.Dataset, arm: str | Preprocess, rate: float | None = None) -> np.ndarray:
        """Test accuracy at the last step [T], diverged trials included and counted; `rate`: where there are several."""
        cell = at(results, arm, rate)
        self.diverged += int(cell.diverged.sum())
        return cell.accuracy.isel(step=-1).values.astype(np.float64)

    def at_own_best(self, results: xr.Dataset, arm: str) -> tuple[float, np.ndarray]:
        """An arm's best learning rate, chosen on the even trials, and its accuracy on the odd ones.

        A maximum over learning rates, taken and judged on the same trials, would flatter every arm, noisy ones most.
        """
        curve = at(results, arm).accuracy.isel(step=-1).transpose("learning_rate", "trial")
        best = int(np.argmax(curve.values[:, ::2].mean(axis=1)))
        rate = float(results.learning_rate.values[best])
        return rate, self.accuracy(results, arm, rate)[1::2]


def at(results: xr.Dataset, arm: str | Preprocess, rate: float | None = None) -> xr.Dataset:
    """The results of one arm, and of one learning rate if it is given or there is only one."""
    cell = results.sel(arm=arm if isinstance(arm, str) else arm.name)
    if rate is not None:
        return cell.sel(learning_rate=rate, method="nearest")
    return cell.isel(learning_rate=0) if cell.sizes["learning_rate"] == 1 else cell


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
