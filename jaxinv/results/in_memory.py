"""A run that is not stored."""

import json
from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from jaxinv.results.assemble import assemble
from jaxinv.results.filled import FilledBlocks
from jaxinv.results.schema import ResultBlock, Schema, WeightSum


class InMemory(FilledBlocks):
    """Results of a run that is not stored: takes the same blocks as `Store` and gives the same Dataset.

    `room` is for how many trials to make room at first; by default all.
    """

    def __init__(self, schema: Schema, attrs: Mapping[str, str], block: int, room: int | None = None) -> None:
        super().__init__(schema.trials, block)
        self.schema, self.attrs = schema, dict(attrs)
        self._room = schema.trials if room is None else min(room, schema.trials)
        self._arrays = {name: schema.empty(name, self._room) for name in schema.by_trial}
        self._weights = [WeightSum.zero(schema)] * len(self.sizes)

    by_others, ended = 0, False

    def complete(self) -> bool:
        """Whether all trials are finished."""
        return not self.left()

    def todo(self) -> list[tuple[int, int]]:
        """(first trial, number of trials) of what is missing: each within one block, in order."""
        return self.left()

    def write(self, first: int, block: ResultBlock) -> None:
        """Take the results of trials first, first + 1, …, which continue one block."""
        trials = self.schema.check(block)
        index = self.check(first, trials)
        self._make_room(first + trials)
        for name, values in block.values.items():
            self._arrays[name][:, :, first : first + trials] = values
        self._weights[index] = self._weights[index].add(block)
        self.add(first, trials)

    def refresh(self) -> None:
        """Nobody else computes trials."""

    def values(self, name: str, first: int) -> np.ndarray | None:
        """A variable of the finished trials of a block from one of them on, [A, L, n, …]; None where it is missing."""
        index = first // self.block
        stop = index * self.block + int(self.filled[index]) if first < self.trials else 0
        return self._arrays[name][:, :, first:stop] if stop > first else None

    def end(self, trials: int, record: str, weights: Callable[[int, int], WeightSum]) -> None:
        """Let the run end with its first trials, which are all that are finished; `record` is what it says of that."""
        fields = json.loads(self.attrs["study"]) | {"trials": trials}
        self.attrs |= {"study": json.dumps(fields, sort_keys=True), "until": record}
        self.schema = self.schema.with_trials(trials)
        self._arrays = {name: values[:, :, :trials] for name, values in self._arrays.items()}

    def finish(self) -> None:
        """Nothing is left to do in memory."""

    def read(self) -> xr.Dataset:
        """The results."""
        weights = sum(self._weights, WeightSum.zero(self.schema))
        return assemble(self.schema, self._arrays, weights, self.attrs)

    def _make_room(self, trials: int) -> None:
        """Make room for so many trials: twice as much as there was, as long as that is needed."""
        if trials <= self._room:
            return
        self._room = min(self.trials, max(trials, 2 * self._room))
        for name, old in self._arrays.items():
            self._arrays[name] = self.schema.empty(name, self._room)
            self._arrays[name][:, :, : old.shape[2]] = old
