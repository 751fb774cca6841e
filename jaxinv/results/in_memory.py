"""A run that is not stored."""

from collections.abc import Mapping

import xarray as xr

from jaxinv.results.assemble import assemble
from jaxinv.results.filled import FilledBlocks
from jaxinv.results.schema import ResultBlock, Schema, WeightSum


class InMemory(FilledBlocks):
    """Results of a run that is not stored: takes the same blocks as `Store` and gives the same Dataset."""

    def __init__(self, schema: Schema, attrs: Mapping[str, str], block: int) -> None:
        super().__init__(schema.trials, block)
        self.schema, self.attrs = schema, dict(attrs)
        self._arrays = {name: schema.empty(name, schema.trials) for name in schema.by_trial}
        self._weights = [WeightSum.zero(schema)] * len(self.sizes)

    by_others = 0

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
        for name, values in block.values.items():
            self._arrays[name][:, :, first : first + trials] = values
        self._weights[index] = self._weights[index].add(block)
        self.add(first, trials)

    def finish(self) -> None:
        """Nothing is left to do in memory."""

    def read(self) -> xr.Dataset:
        """The results."""
        weights = sum(self._weights, WeightSum.zero(self.schema))
        return assemble(self.schema, self._arrays, weights, self.attrs)
