"""A run that is not stored: it takes the same blocks as a folder and gives the same Dataset."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from jaxinv.results.schema import PER_TRIAL, ResultBlock, Schema, WeightSum, assemble
from jaxinv.store.progress import Progress


class Memory:
    """Results of a run that is not stored: takes the same blocks as `Store` and gives the same Dataset."""

    def __init__(self, schema: Schema, attrs: Mapping[str, str], block: int) -> None:
        self.schema, self.attrs, self.block = schema, dict(attrs), block
        self._progress = Progress(schema.trials, block)
        self._arrays = {name: schema.empty(name, schema.trials) for name in PER_TRIAL}
        self._weights = [WeightSum.zero(schema)] * len(self._progress.sizes)

    @property
    def done(self) -> np.ndarray:
        """bool [T], which trials are finished."""
        return self._progress.done

    def todo(self) -> list[tuple[int, int]]:
        """(first trial, number of trials) of what is missing: each within one block, in order."""
        return self._progress.left()

    def write(self, first: int, block: ResultBlock) -> None:
        """Take the results of trials first, first + 1, …, which continue one block."""
        trials = self.schema.check(block)
        index = self._progress.check(first, trials)
        for name in PER_TRIAL:
            self._arrays[name][:, :, first : first + trials] = getattr(block, name)
        self._weights[index] = self._weights[index].add(block)
        self._progress.add(first, trials)

    def finish(self) -> None:
        """Nothing is left to do in memory."""

    def read(self) -> xr.Dataset:
        """The results."""
        weights = sum(self._weights, WeightSum.zero(self.schema))
        return assemble(self.schema, self._arrays, weights, self.attrs)
