"""A run that is watched: its trials are looked at in their order, and it ends when they answer what is asked."""

import json
import os
from typing import Any, Protocol

import numpy as np

from jaxinv.errors import InputError
from jaxinv.results.schema import ResultBlock, Schema
from jaxinv.results.selection import AXES
from jaxinv.stats.looks import Looks, Stop
from jaxinv.stats.stopping import Until, check_until
from jaxinv.store import begun_for, load, planned_trials

PLANNED = 4000
"""Trials for which the work is laid out, in calls and blocks, of a run that may end long before its maximum."""


class Finished(Protocol):
    """Where a run's finished trials are: `Store` or `InMemory`."""

    def refresh(self) -> None:
        """See what other workers have finished."""
        ...

    def values(self, name: str, first: int) -> np.ndarray | None:
        """A variable of some finished trials from one on, [A, L, n, …]; None where that one is missing."""
        ...


class Watch:
    """Looks at the trials of a run in their order, whoever computes them."""

    def __init__(self, until: Until, schema: Schema, test_images: int) -> None:
        """InputError where the study has not what `until` is about, or cannot show it."""
        metrics = [name for name, variable in schema.per_trial.items() if variable.dims == AXES]
        check_until(until, schema.arms, schema.learning_rates, metrics)
        rates = until.learning_rate if isinstance(until.learning_rate, tuple) else (until.learning_rate,) * 2
        axis = np.asarray(schema.learning_rates)
        places = [0 if rate is None else int(np.argmin(np.abs(axis - rate))) for rate in rates]
        self._cells = list(zip(map(schema.arms.index, (until.arm_a, until.arm_b)), places, strict=True))
        self._last_step = int(np.argmax(schema.steps))
        self.until, self.most = until, schema.trials
        self._looks = Looks(until, schema.trials, 1 / test_images if until.metric == "accuracy" else 0.0)

    @property
    def stop(self) -> Stop | None:
        """Why the run ends; None while it goes on."""
        return self._looks.stop

    @property
    def record(self) -> str:
        """What a run says of its end: its attribute `until`."""
        stop = None if self.stop is None else self.stop.to_dict()
        return json.dumps({**self.until.to_dict(), "max_trials": self.most, "stop": stop}, sort_keys=True)

    def catch_up(self, finished: Finished) -> Stop | None:
        """Look at what is finished, as far as no trial is missing."""
        finished.refresh()
        while self.stop is None and (values := finished.values(self.until.metric, self._looks.n)) is not None:
            self._take(values)
        return self.stop

    def end(self, first: int, part: ResultBlock) -> int | None:
        """Look at results that are not stored yet, if they are the next ones; before which trial to end, if at all."""
        if self.stop is None and first == self._looks.n:
            self._take(part.values[self.until.metric])
        return None if self.stop is None else self.stop.n

    def check_pilot(self, folder: str | os.PathLike[str]) -> None:
        """InputError where a folder has more trials than it takes, by a run for something else: none is thrown away."""
        if planned_trials(folder) == 0 or begun_for(folder, self.until.to_dict()):
            return
        results = load(folder)
        done = results["done"].values
        first = done.size if done.all() else int(np.argmin(done))
        looks = Looks(self.until, self.most, self._looks.grain)
        looks.take(*self._sides(results[self.until.metric].transpose(*AXES).values[:, :, :first]))
        if looks.stop is not None and looks.stop.n < done.sum():
            raise InputError(
                f"until: the first {looks.stop.n:,} of the {done.sum():,} trials in {os.fspath(folder)!r} answer that "
                "already; look at them with jaxinv compare, or give another folder"
            )

    def _take(self, values: np.ndarray) -> None:
        self._looks.take(*self._sides(values))

    def _sides(self, values: np.ndarray) -> list[Any]:
        """A metric [A, L, n, E] of the two arms after the last step: [n] each."""
        return [values[arm, rate, :, self._last_step] for arm, rate in self._cells]
