"""Which trials of a run are finished."""

import numpy as np


class FilledBlocks:
    """How many trials of each block are finished. A block fills from its start.

    >>> filled = FilledBlocks(trials=5, block=2)
    >>> filled.add(0, 2); filled.add(2, 1)
    >>> filled.done.tolist(), filled.left()
    ([True, True, True, False, False], [(3, 1), (4, 1)])
    """

    def __init__(self, trials: int, block: int) -> None:
        self.trials, self.block = trials, block
        self.sizes = np.minimum(block, trials - np.arange(0, trials, block))
        self.filled = np.zeros_like(self.sizes)

    @property
    def done(self) -> np.ndarray:
        """bool [T], which trials are finished."""
        return np.arange(self.trials) % self.block < np.repeat(self.filled, self.sizes)

    def left(self) -> list[tuple[int, int]]:
        """(first trial, number of trials) of what is missing in each block that is not full."""
        return [self.missing(index) for index in np.flatnonzero(self.filled < self.sizes).tolist()]

    def missing(self, index: int) -> tuple[int, int]:
        """(first trial, number of trials) of what is missing in a block."""
        return index * self.block + int(self.filled[index]), int(self.sizes[index] - self.filled[index])

    def check(self, first: int, trials: int) -> int:
        """The block that these trials continue; ValueError where they continue none."""
        index = first // self.block
        room = self.sizes[index] - self.filled[index] if 0 <= first < self.trials else 0
        if not 0 < trials <= room or first != index * self.block + self.filled[index]:
            raise ValueError(f"trials {first} to {first + trials - 1} do not continue a block of {self.block}")
        return index

    def add(self, first: int, trials: int) -> None:
        """Count these trials as finished."""
        self.filled[self.check(first, trials)] += trials
