"""Cells of results: one arm at one learning rate at one step, with the values of every finished trial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from jaxinv.errors import unknown
from jaxinv.results.selection import (
    AXES,
    arm_index,
    arm_names,
    coordinate,
    diverged_flags,
    done_mask,
    done_trials,
    grain,
    learning_rates,
    metric_names,
    metric_values,
    metric_variable,
    rate_index,
    rates_used,
    step_index,
    steps,
)

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, eq=False, kw_only=True)
class Cell:
    """One arm at one learning rate at one step.

    Attributes:
      arm: its name.
      learning_rate: its place on the axis of learning rates.
      rate: the learning rate that was used; an arm's own takes the place of the axis.
      step: how many updates had been made.
      trials: int [T], numbers of the finished trials.
      diverged: bool [T].
      metrics: name -> float64 [T], whatever was measured.
      grains: name -> the step in which the metric moves, where that is known.
    """

    arm: str
    learning_rate: float
    rate: float
    step: int
    trials: np.ndarray
    diverged: np.ndarray
    metrics: Mapping[str, np.ndarray]
    grains: Mapping[str, float] = field(default_factory=dict)

    def metric(self, name: str) -> np.ndarray:
        """A metric's values [T]."""
        if name not in self.metrics:
            raise unknown("metric", name, self.metrics)
        return self.metrics[name]

    @property
    def accuracy(self) -> np.ndarray:
        """Test accuracy [T]."""
        return self.metric("accuracy")

    @property
    def test_loss(self) -> np.ndarray:
        """Test loss [T]."""
        return self.metric("test_loss")


def cell(
    results: "xr.Dataset",
    arm: str,
    *,
    learning_rate: float | None = None,
    step: int | None = None,
    metrics: Sequence[str] | None = None,
) -> Cell:
    """One arm at one learning rate at one step.

    Args:
      results: dims arm, learning_rate, trial, step.
      arm: its name.
      learning_rate: one of the results'; may be left out where there is only one.
      step: an evaluated step; the last by default.
      metrics: names of those to read; all by default.

    Raises:
      InputError: an arm, learning rate, step or metric that the results do not hold.
      DataError: no trial is done.
    """
    done = done_mask(results)
    arm_at, rate_at, step_at = arm_index(results, arm), rate_index(results, learning_rate), step_index(results, step)
    names = metric_names(results) if metrics is None else metrics
    place = {"arm": arm_at, "learning_rate": rate_at, "step": step_at}
    return Cell(
        arm=arm_names(results)[arm_at],
        learning_rate=learning_rates(results)[rate_at],
        rate=float(rates_used(results)[arm_at, rate_at]),
        step=steps(results)[step_at],
        trials=coordinate(results, "trial")[done],
        diverged=diverged_flags(results)[arm_at, rate_at, done],
        metrics={name: metric_variable(results, name).isel(place).values[done].astype(np.float64) for name in names},
        grains={name: grain(results, name) for name in names},
    )


def cells(results: "xr.Dataset", step: int | None = None) -> list[Cell]:
    """Every arm at every learning rate, the learning rates of the first arm first.

    Args:
      results: dims arm, learning_rate, trial, step.
      step: an evaluated step; the last by default.

    Raises:
      InputError: a step that was not evaluated.
      DataError: no trial is done.
    """
    ran = done_trials(results)
    at = step_index(ran, step)
    values = {name: metric_values(ran, name)[..., at].astype(np.float64) for name in metric_names(ran)}
    trials, diverged, used = coordinate(ran, "trial"), diverged_flags(ran), rates_used(ran)
    return [
        Cell(
            arm=name,
            learning_rate=rate,
            rate=float(used[a, r]),
            step=steps(ran)[at],
            trials=trials,
            diverged=diverged[a, r],
            metrics={metric: array[a, r] for metric, array in values.items()},
            grains={metric: grain(ran, metric) for metric in values},
        )
        for a, name in enumerate(arm_names(ran))
        for r, rate in enumerate(learning_rates(ran))
    ]


def distinct_cells(results: "xr.Dataset", step: int | None = None) -> list[Cell]:
    """Every arm at every learning rate that it used, each once: an arm with one of its own has it all along the axis.

    Args and errors: as for `cells`.
    """
    found: dict[tuple[str, float], Cell] = {}
    for one in cells(results, step):
        found.setdefault((one.arm, one.rate), one)
    return list(found.values())


def best_cells(
    results: "xr.Dataset", step: int | None = None, *, metric: str = "accuracy", lowest: bool = False
) -> dict[str, Cell]:
    """Each arm at its best learning rate: arm -> the cell with the highest mean.

    Values that are not finite are left out of the means; a learning rate that has no finite value is the worst. Of
    equals the first is taken. A maximum over learning rates flatters an arm that is judged by the same trials; choose
    on some trials (`results.isel(trial=...)`) and judge on the others where that matters.

    Args:
      results: dims arm, learning_rate, trial, step.
      step: an evaluated step; the last by default.
      metric: what is averaged.
      lowest: the lowest mean is best, as for a loss.
    """
    found = distinct_cells(results, step)
    best: dict[str, Cell] = {}
    for name in arm_names(results):
        own = [one for one in found if one.arm == name]
        means = np.array([_finite_mean(one.metric(metric)) for one in own])
        worst = np.inf if lowest else -np.inf
        means = np.where(np.isnan(means), worst, means)
        best[name] = own[int(np.argmin(means) if lowest else np.argmax(means))]
    return best


def best_rates(results: "xr.Dataset", step: int | None = None) -> dict[str, float]:
    """Where on the axis each arm's best learning rate by mean accuracy is; what `learning_rate=` takes in plots and
    `stats.compare_all`."""
    return {arm: best.learning_rate for arm, best in best_cells(results, step).items()}


def mean_over_steps(results: "xr.Dataset") -> "xr.Dataset":
    """The results with each trial's mean over its evaluations, float64, in place of its evaluations.

    The only step left is the last. Values that are not finite are left out of a trial's mean.
    """
    ran = done_trials(results)
    means = {}
    for name in metric_names(ran):
        values = metric_values(ran, name).astype(np.float64)
        finite = np.isfinite(values)
        with np.errstate(invalid="ignore"):
            mean = values.sum(axis=-1, where=finite) / finite.sum(axis=-1)
        means[name] = (AXES, mean[..., None])
    evaluations = int(ran.attrs.get("evaluations", 1)) * ran.sizes["step"]
    return ran.isel(step=[step_index(ran)]).assign(means).assign_attrs(evaluations=evaluations)


def _finite_mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
