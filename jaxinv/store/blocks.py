"""One store block on disk: its chunks, and the mark that makes them count.

A block's mark is one chunk of the array `blocks/mark`. It says how many of the block's trials are finished (always the
first ones), a digest of their values in each variable, and the sum of their weight changes. The mark is written after
the values, in one step, and it alone makes them count: whatever is cut short before it counts for nothing. Adding
trials to a block writes its chunks anew with the old values in front, so the old mark fits until the new one is there.
`done` repeats the marks for readers and is written last.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from jaxinv.results.schema import PER_TRIAL, ResultBlock, Schema, WeightSum
from jaxinv.store import zarr_files
from jaxinv.store.files import Files
from jaxinv.store.zarr_files import MARK, Damaged, block_key, chunk_key, decode, encode

DIGEST = hashlib.sha256().digest_size


class Mark(NamedTuple):
    """What a block's mark says: how many trials are finished, their digests by variable, their weight changes."""

    filled: int
    digests: dict[str, bytes]
    weights: WeightSum


class Blocks:
    """Reads and writes the blocks of one run. `identity` is the run's own: a block of another run never fits."""

    def __init__(self, files: Files, schema: Schema, block: int, identity: str) -> None:
        self.files, self.schema, self.block, self.identity = files, schema, block, identity

    @staticmethod
    def mark_bytes(schema: Schema) -> int:
        """Length of a mark."""
        weights = WeightSum.zero(schema)
        return 8 + DIGEST * (len(PER_TRIAL) + 1) + weights.count.nbytes + weights.total.nbytes

    @property
    def count(self) -> int:
        """How many blocks the run has."""
        return -(-self.schema.trials // self.block)

    def read_mark(self, index: int) -> Mark | None:
        """A block's mark, None where it has none; `Damaged` where it is not as written."""
        key = chunk_key(MARK, index, 0)
        data = self.files.read(key)
        if data is None:
            return None
        length = self.mark_bytes(self.schema)
        raw = decode(key, data, (length,), np.uint8).tobytes()
        body, digest = raw[:-DIGEST], raw[-DIGEST:]
        filled = int.from_bytes(body[:8], "little")
        if digest != self._digest(MARK, index, filled, body) or not 0 < filled <= self.block:
            raise Damaged(key, "is not the mark of this block of this run")
        at = 8 + DIGEST * len(PER_TRIAL)
        digests = {name: body[8 + DIGEST * i : 8 + DIGEST * (i + 1)] for i, name in enumerate(PER_TRIAL)}
        zero = WeightSum.zero(self.schema)
        count = np.frombuffer(body, "<i8", zero.count.size, at).reshape(zero.count.shape)
        total = np.frombuffer(body, "<f8", zero.total.size, at + count.nbytes).reshape(zero.total.shape)
        return Mark(filled, digests, WeightSum(total, count))

    def read(self, index: int, mark: Mark) -> dict[str, np.ndarray]:
        """The finished trials of a block; `Damaged` where a chunk is missing or not what the mark says."""
        return {name: self._rows(name, index, mark) for name in PER_TRIAL}

    def read_done(self, index: int) -> int:
        """How many trials of a block `done` shows as finished; `Damaged` where that is not as written."""
        key = chunk_key("done", index)
        data = self.files.read(key)
        done = np.zeros(self.block, bool) if data is None else decode(key, data, (self.block,), np.uint8).view(bool)
        filled = int(np.count_nonzero(done))
        if not done[:filled].all():
            raise Damaged(key, "has a gap")
        return filled

    def total(self) -> tuple[WeightSum, list[int]]:
        """The sum of all blocks' weight changes, in their order; how many trials each has finished."""
        weights, filled = WeightSum.zero(self.schema), []
        for index in range(self.count):
            mark = self.read_mark(index)
            filled.append(mark.filled if mark else 0)
            weights = weights + mark.weights if mark else weights
        return weights, filled

    def write(self, index: int, old: Mark | None, new: ResultBlock) -> None:
        """Put further trials behind those of a block's mark, which must still fit."""
        rows = {name: np.asarray(getattr(new, name)) for name in PER_TRIAL}
        weights = WeightSum.zero(self.schema)
        if old is not None:
            rows = {
                name: np.concatenate([before, rows[name]], axis=2) for name, before in self.read(index, old).items()
            }
            weights = old.weights
        filled = rows["diverged"].shape[2]
        digests = {}
        for name, values in rows.items():
            chunk = self.schema.empty(name, self.block)
            chunk[:, :, :filled] = values
            digests[name] = self._digest(name, index, filled, chunk[:, :, :filled].tobytes())
            if chunk.size:
                self.files.write(block_key(name, self.schema, index), encode(chunk))
        self._write_mark(index, Mark(filled, digests, weights.add(new)))
        self.write_done(index, filled)

    def write_done(self, index: int, filled: int) -> None:
        """Let `done` show the first trials of a block as finished."""
        self.files.write(chunk_key("done", index), encode((np.arange(self.block) < filled).view(np.uint8)))

    def drop(self, index: int) -> None:
        """Forget a block: first for readers, then for the next run, then its values."""
        self.files.remove(chunk_key("done", index))
        self.files.remove(chunk_key(MARK, index, 0))
        for name in PER_TRIAL:
            self.files.remove(block_key(name, self.schema, index))

    def _rows(self, name: str, index: int, mark: Mark) -> np.ndarray:
        key = block_key(name, self.schema, index)
        empty = self.schema.empty(name, self.block)
        chunk = empty
        if empty.size:
            chunk = decode(key, self.files.read(key), empty.shape, empty.dtype)
        rows = chunk[:, :, : mark.filled]
        if self._digest(name, index, mark.filled, rows.tobytes()) != mark.digests[name]:
            raise Damaged(key, "does not hold the values that were written")
        return rows

    def _write_mark(self, index: int, mark: Mark) -> None:
        body = b"".join(
            [
                mark.filled.to_bytes(8, "little"),
                *mark.digests.values(),
                mark.weights.count.astype("<i8").tobytes(),
                mark.weights.total.astype("<f8").tobytes(),
            ]
        )
        raw = body + self._digest(MARK, index, mark.filled, body)
        self.files.write(chunk_key(MARK, index, 0), encode(np.frombuffer(raw, np.uint8)))

    def _digest(self, name: str, index: int, filled: int, data: bytes) -> bytes:
        digest = hashlib.sha256(f"{zarr_files.FORMAT} {self.identity} {name} {index} {filled} ".encode())
        digest.update(data)
        return digest.digest()
