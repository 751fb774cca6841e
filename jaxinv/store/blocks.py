"""One store block on disk: its chunks, and the mark that makes them count.

A block's mark is one chunk of the array `blocks/mark`. It says how many of the block's trials are finished (always the
first ones), a digest of their values in each variable, and the sum of their weight changes. The mark is written after
the values, in one step, and it alone makes them count: whatever is cut short before it counts for nothing. Adding
trials to a block writes its chunks anew with the old values in front, so the old mark fits until the new one is there.
`done` repeats the marks for readers and is written last.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from jaxinv.results.schema import ResultBlock, Schema, WeightSum, join
from jaxinv.store.arrays import Arrays
from jaxinv.store.files import Damaged, Missing
from jaxinv.store.hierarchy import FORMAT, MARK

DIGEST = hashlib.sha256().digest_size


class Mark(NamedTuple):
    """What a block's mark says: how many trials are finished, their digests by variable, their weight changes."""

    filled: int
    digests: dict[str, bytes]
    weights: WeightSum


def mark_type(schema: Schema) -> np.dtype:
    """The bytes of a mark, which end with a digest of those before."""
    zero = WeightSum.zero(schema)
    return np.dtype(
        [
            ("filled", "<i8"),
            ("digests", "u1", (len(schema.by_trial), DIGEST)),
            ("count", "<i8", zero.count.shape),
            ("total", "<f8", zero.total.shape),
            ("digest", "u1", (DIGEST,)),
        ]
    )


class Blocks:
    """Reads and writes the blocks of one run. `identity` is the run's own: a block of another run never fits."""

    def __init__(self, arrays: Arrays, schema: Schema, block: int, identity: str) -> None:
        self.arrays, self.schema, self.block, self.identity = arrays, schema, block, identity
        self.sizes = np.minimum(block, schema.trials - np.arange(0, schema.trials, block)).tolist()

    def read_mark(self, index: int) -> Mark | None:
        """A block's mark, None where it has none; `Damaged` where it is not as written."""
        try:
            raw = self.arrays.read(MARK, index).ravel()
        except Missing:
            return None
        mark = raw.view(mark_type(self.schema))[0]
        filled = int(mark["filled"])
        body, digest = raw[:-DIGEST].tobytes(), raw[-DIGEST:].tobytes()
        if digest != self._digest(MARK, index, filled, body) or not 0 < filled <= self.block:
            raise Damaged(self.arrays.key(MARK, index), "is not the mark of this block of this run")
        digests = {name: row.tobytes() for name, row in zip(self.schema.by_trial, mark["digests"], strict=True)}
        return Mark(filled, digests, WeightSum(mark["total"], mark["count"]))

    def read(self, index: int, mark: Mark, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """The finished trials of a block, all variables or some; `Damaged` where a chunk is not what the mark says."""
        names = self.schema.by_trial if names is None else names
        found = {name: self.arrays.read(name, index)[:, :, : mark.filled] for name in names}
        for name, rows in found.items():
            if self._digest(name, index, mark.filled, rows.tobytes()) != mark.digests[name]:
                raise Damaged(self.arrays.key(name, index), "does not hold the values that were written")
        return found

    def read_done(self, index: int) -> int:
        """How many trials of a block `done` shows as finished; `Damaged` where that is not as written."""
        try:
            done = self.arrays.read("done", index)
        except Missing:
            return 0
        filled = int(np.count_nonzero(done))
        if not done[:filled].all():
            raise Damaged(self.arrays.key("done", index), "has a gap")
        return filled

    def total(self) -> tuple[WeightSum, list[int]]:
        """The sum of all blocks' weight changes, in their order; how many trials each has finished."""
        marks = (self.read_mark(index) for index in range(len(self.sizes)))
        weights, filled = WeightSum.zero(self.schema), []
        for mark in marks:
            filled.append(mark.filled if mark else 0)
            weights = weights + mark.weights if mark else weights
        return weights, filled

    def write(self, index: int, old: Mark | None, new: ResultBlock, summed: WeightSum | None = None) -> None:
        """Put further trials behind those of a block's mark, which must still fit.

        `summed` is the sum of their weight changes, where those of each trial are not at hand.
        """
        rows = new
        weights = WeightSum.zero(self.schema)
        if old is not None:
            rows = join([ResultBlock(self.read(index, old)), new._replace(weight_delta=None)])
            weights = old.weights
        weights = weights.add(new) if summed is None else weights + summed
        filled = rows.trials
        digests: dict[str, bytes] = {}
        for name in self.schema.by_trial:
            chunk = found = np.ascontiguousarray(rows.values[name], self.schema.variables[name].dtype)
            if filled < self.sizes[index]:
                chunk = self.schema.empty(name, self.sizes[index])
                chunk[:, :, :filled] = found
            digests[name] = self._digest(name, index, filled, found.view(np.uint8).data)
            self.arrays.write(name, index, chunk)
        self._write_mark(index, filled, digests, weights)
        self.write_done(index, filled)

    def _write_mark(self, index: int, filled: int, digests: Mapping[str, bytes], weights: WeightSum) -> None:
        """Let the first trials of a block count, with the digests of their values in each variable."""
        mark = np.zeros((), mark_type(self.schema))
        mark["filled"], mark["count"], mark["total"] = filled, weights.count, weights.total
        for i, name in enumerate(self.schema.by_trial):
            mark["digests"][i] = np.frombuffer(digests[name], np.uint8)
        digest = self._digest(MARK, index, filled, mark.tobytes()[:-DIGEST])
        mark["digest"] = np.frombuffer(digest, np.uint8)
        self.arrays.write(MARK, index, np.frombuffer(mark.tobytes(), np.uint8)[None])

    def shorten(self, index: int, mark: Mark, filled: int, weights: WeightSum | None) -> None:
        """Let only the first trials of a block count; their values stay as they are.

        `weights` is the sum of their weight changes; None where there are none.
        """
        rows = {name: values[:, :, :filled] for name, values in self.read(index, mark).items()}
        if weights is None:
            weights = WeightSum.zero(self.schema).add(ResultBlock(rows))
        digests = {name: self._digest(name, index, filled, values.tobytes()) for name, values in rows.items()}
        self.write_done(index, filled)  # before the mark: readers take `done` to lag behind it
        self._write_mark(index, filled, digests, weights)

    def write_done(self, index: int, filled: int) -> None:
        """Let `done` show the first trials of a block as finished."""
        self.arrays.write("done", index, np.arange(self.sizes[index]) < filled)

    def drop(self, index: int) -> None:
        """Forget a block: first for readers, then for the next run, then its values."""
        for name in ("done", MARK, *self.schema.by_trial):
            self.arrays.remove(name, index)

    def _digest(self, name: str, index: int, filled: int, data: bytes | memoryview) -> bytes:
        digest = hashlib.sha256(f"{FORMAT} {self.identity} {name} {index} {filled} ".encode())
        digest.update(data)
        return digest.digest()
