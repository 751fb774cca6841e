"""One stored study as a page shows it: what `jaxinv.stats` says of it, arranged for tables, pictures and sentences."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from jaxinv import registry, stats
from jaxinv.errors import InputError
from jaxinv.results.selection import AXES, arm_names, done_trials
from jaxinv.stats import Comparison, Summary


class Cell(NamedTuple):
    """One arm at one learning rate."""

    arm: str
    rate: float
    accuracy: Summary
    loss: Summary | None
    diverged: int
    best: bool  # the arm's best learning rate, by mean accuracy


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A stored study, and what is known about it from elsewhere.

    Attributes:
      results: dims arm, learning_rate, trial, step, as `jaxinv.load` gives them.
      name: the folder it stands in below the page's own, "" for the page's own.
      title: its heading.
      border: bool [H, W], pixels that are never on in training.
      bounds: arm -> learning rate below which gradient descent is stable at the start.
      published: arm -> published mean over the looks at one chain; a study that has it is judged by each trial's mean
        over all its evaluations, any other by the last.
    """

    results: xr.Dataset
    name: str = ""
    title: str = ""
    border: np.ndarray | None = None
    bounds: Mapping[str, float] | None = None
    published: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        missing = [axis for axis in AXES if axis not in self.results.dims]
        if missing:
            raise InputError(f"results: no dimension {missing[0]!r}; dims {', '.join(AXES)} are needed")

    @cached_property
    def study(self) -> dict[str, Any]:
        """The study's fields, as its JSON has them."""
        return json.loads(self.results.attrs.get("study", "{}"))

    @cached_property
    def arms(self) -> list[str]:
        return arm_names(self.results)

    @cached_property
    def rates(self) -> list[float]:
        return [float(rate) for rate in self.results["learning_rate"].values]

    @cached_property
    def steps(self) -> list[int]:
        return [int(step) for step in self.results["step"].values]

    @property
    def planned(self) -> int:
        return self.results.sizes["trial"]

    @cached_property
    def done(self) -> int:
        return int(np.sum(self.results["done"].values)) if "done" in self.results else self.planned

    @cached_property
    def judged(self) -> xr.Dataset:
        """The finished trials, with the one figure of each that the study is judged by at the only step."""
        ran = done_trials(self.results)
        if self.published is None:
            return ran.isel(step=[-1])
        looks = {
            name: ((*AXES[:3], "step"), np.asarray(stats.summary(ran[name].transpose(*AXES).values).mean)[..., None])
            for name in ("accuracy", "test_loss")
            if name in ran
        }
        return ran.isel(step=[-1]).assign(looks)

    @cached_property
    def cells(self) -> list[Cell]:
        """Every arm at every learning rate."""
        cells = []
        for arm in self.arms:
            found = [self._cell(arm, k) for k in range(len(self.rates))]
            means = [cell.accuracy.mean if np.isfinite(cell.accuracy.mean) else -np.inf for cell in found]
            cells += [cell._replace(best=k == int(np.argmax(means))) for k, cell in enumerate(found)]
        return cells

    @cached_property
    def best(self) -> dict[str, Cell]:
        """Each arm at its best learning rate."""
        return {cell.arm: cell for cell in self.cells if cell.best}

    @property
    def best_rates(self) -> dict[str, float]:
        return {arm: cell.rate for arm, cell in self.best.items()}

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """All pairs of arms, each arm at its best learning rate, p adjusted over the pairs."""
        rates = self.best_rates
        pairs = [
            stats.compare(self.judged, a, b, learning_rate=(rates[a], rates[b]))
            for k, a in enumerate(self.arms)
            for b in self.arms[k + 1 :]
        ]
        if len(pairs) < 2:
            return pairs
        adjusted = stats.holm([pair.p_value for pair in pairs])
        return [
            replace(pair, p_adjusted=float(p), adjustment="Holm", family=len(pairs))
            for pair, p in zip(pairs, adjusted, strict=True)
        ]

    @cached_property
    def z(self) -> dict[str, float]:
        """Where each published value falls in the distribution over the chains."""
        return {
            arm: stats.published_z(value, self._values(arm, self.rates.index(self.best_rates[arm])))
            for arm, value in (self.published or {}).items()
        }

    @property
    def diverged(self) -> int:
        """How many trainings diverged, over all arms and learning rates."""
        return sum(cell.diverged for cell in self.cells)

    @property
    def trainings(self) -> int:
        """How many trainings are finished, over all arms and learning rates."""
        return len(self.cells) * self.done

    @property
    def has_heatmaps(self) -> bool:
        """Whether the first layer reads pixels and the run is finished."""
        return "weight_delta" in self.results and bool(np.isfinite(self.results["weight_delta"].values).any())

    def heatmap(self, arm: str) -> np.ndarray:
        """An arm's weight change [H, W, K] at its best learning rate."""
        delta = self.results["weight_delta"].transpose("arm", "learning_rate", "row", "col", "channel").values
        return delta[self.arms.index(arm), self.rates.index(self.best_rates[arm])]

    def described(self, arm: str) -> str:
        """What an arm does, in a line, where it is one of jaxinv's."""
        lines = [registry.PREPROCESSINGS.get(name, "") for name in arm.split("+")]
        return ", then ".join(lines) if all(lines) else ""

    def field(self, name: str) -> str:
        """A field of the study in words; objects of the user's own go by their name."""
        value = self.study.get(name, "unknown")
        return str(value.get("own", value)) if isinstance(value, dict) else str(value)

    def _values(self, arm: str, rate: int) -> np.ndarray:
        accuracy = self.judged["accuracy"].transpose(*AXES).values
        return accuracy[self.arms.index(arm), rate, :, 0].astype(np.float64)

    def _cell(self, arm: str, rate: int) -> Cell:
        k, loss, diverged = self.arms.index(arm), None, 0
        if "test_loss" in self.judged:
            loss = stats.summary(self.judged["test_loss"].transpose(*AXES).values[k, rate, :, 0].astype(np.float64))
        if "diverged" in self.judged:
            diverged = int(self.judged["diverged"].transpose(*AXES[:3]).values[k, rate].sum())
        return Cell(arm, self.rates[rate], stats.summary(self._values(arm, rate)), loss, diverged, False)
