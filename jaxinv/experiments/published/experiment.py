"""What a published experiment is: who says what, the studies that test it, and what counts as replicated."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from jaxinv.data import Dataset, load_dataset
from jaxinv.engine.networks import load_params
from jaxinv.experiments.claims.estimates import Estimate
from jaxinv.experiments.claims.rule import Criterion
from jaxinv.results.cells import cell, mean_over_steps
from jaxinv.results.selection import arm_index, rate_index
from jaxinv.study import Study
from jaxinv.training.evaluate import Metric

Outcome = Literal["replicated", "in part", "not replicated", "open"]
SizeName = Literal["quick", "default", "full"]


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the studies are to be.

    Attributes:
      name: "quick", "default", or "full", the published protocol.
      seed: of every study.
      places: dataset -> another place of the same data, such as an `.npz`.
      data_dir: where tensorflow-datasets keeps its data.
    """

    name: SizeName = "default"
    seed: int = 0
    places: Mapping[str, str] = field(default_factory=dict)
    data_dir: str | None = None

    def pick(self, quick: int, default: int, full: int | None = None) -> int:
        """One number for each size; without one for "full" it is the default's."""
        return {"quick": quick, "default": default, "full": default if full is None else full}[self.name]

    def study(self, dataset: str, **fields: Any) -> Study:
        """A study on a dataset, wherever that is."""
        return Study(dataset=self.places.get(dataset, dataset), seed=self.seed, **fields)

    def with_few_tests(self, study: Study) -> Study:
        """The study with no more than 500 or 2,000 test images, where evaluating costs most; with --full, all."""
        data, most = load_dataset(study.dataset, data_dir=self.data_dir), self.pick(500, 2_000, 1 << 31)
        if len(data.x_test) <= most:
            return study
        few = Dataset(
            x_train=data.x_train,
            y_train=data.y_train,
            x_test=data.x_test[:most],
            y_test=data.y_test[:most],
            classes=data.classes,
            name=f"{data.name}, {most} test images",
        )
        return study.replace(dataset=few)


class Plan(NamedTuple):
    """A study, and what to keep of it beyond what all runs do."""

    study: Study
    keep: tuple[str, ...] = ()
    test_arms: tuple[str, ...] = ()
    metrics: Mapping[str, Metric] | None = None
    title: str = ""
    over_steps: bool = False  # a trial's figure is its mean over all evaluations


@dataclass(frozen=True, eq=False)
class Runs:
    """The results of an experiment's studies, by name; `folder`: where they are stored."""

    plans: Mapping[str, Plan]
    results: Mapping[str, xr.Dataset]
    data_dir: str | None = None
    folder: Path | None = None
    size: SizeName = "default"

    def accuracy(self, study: str, arm: str, rate: float | None = None) -> np.ndarray:
        """Test accuracy of each trial at its last evaluation, or its mean over all of them: float64 [T]."""
        results = self.results[study]
        results = mean_over_steps(results) if self.plans[study].over_steps else results
        return cell(results, arm, learning_rate=rate).accuracy

    def transfer(self, study: str, arm: str, test_arm: str) -> np.ndarray:
        """Accuracy of each trial on test images under another preprocessing: float64 [T]."""
        results = self.results[study]
        values = results["transfer_accuracy"].sel(test_arm=test_arm).isel(arm=arm_index(results, arm), learning_rate=0)
        return values.values.astype(np.float64)

    def correct(self, study: str, arm: str) -> np.ndarray:
        """Whether each trial has each test image right: bool [T, M]."""
        results = self.results[study]
        return results["correct"].isel(arm=arm_index(results, arm), learning_rate=rate_index(results, None)).values

    def networks(self, study: str, arm: str) -> Any:
        """The parameters of all trials' networks, stacked: arrays [T, ...]."""
        return load_params(self.results[study] if self.folder is None else self.folder / study, arm)

    def dataset(self, study: str) -> Dataset:
        """The images that a study was run on."""
        return load_dataset(self.plans[study].study.dataset, data_dir=self.data_dir)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A published figure; it replicates where it lies within two standard deviations of our trials' mean.

    Attributes:
      what: it is, as a noun.
      value: as published.
      measure: the same figure of each of our trials: float64 [T].
    """

    what: str
    value: float
    measure: Callable[[Runs], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """Something that the source says in words, and the rule that decides whether it holds.

    Attributes:
      says: the sentence, in the source's words or close to them.
      criterion: what has to hold; as for a claim.
      measure: our estimate of the criterion's figure.
      decides: whether it counts for the verdict; otherwise it is a question of ours about the experiment.
      fails_at: the sizes at which it can fail. At others the trainings are too short for that, and it is left open.
    """

    says: str
    criterion: Criterion
    measure: Callable[[Runs], Estimate]
    decides: bool = True
    fails_at: Sequence[SizeName] = ("quick", "default", "full")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A published experiment.

    Attributes:
      name: for the command line.
      question: the page's title.
      source: who has published it, beginning with the address.
      settings: what the source says was done.
      open_settings: what the source leaves open, and what is done here.
      shortened: how the default differs from the published protocol; "": it does not.
      cost: how long the full protocol takes, where that is another: on 2 cores from what the default was measured to
        take, by the numbers of updates and trials; on an H200 by bytes or operations alone.
      studies: the studies of some size, by name.
      figures, statements: what has to come out for the experiment to be replicated, and further questions.
    """

    name: str
    question: str
    source: str
    settings: str
    open_settings: str = ""
    shortened: str = ""
    cost: str = ""
    studies: Callable[[Size], Mapping[str, Plan]]
    figures: Sequence[Figure] = ()
    statements: Sequence[Statement] = ()
