"""`Store`: a run's results in a folder, block by block; begun, continued or grown by the same call."""

import json
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
import xarray as xr

from jaxinv.errors import DataError
from jaxinv.store import zarr_files
from jaxinv.store.blocks import Blocks, Mark
from jaxinv.store.contents import Block, Layout, WeightSum, missing
from jaxinv.store.files import SCRATCH, open_folder
from jaxinv.store.folder import STUDY, Stored, check_folder, check_study, inspect
from jaxinv.store.reading import results
from jaxinv.store.zarr_files import Damaged, document
from jaxinv.study import Study


class Store:
    """Results of a run in its folder.

    Attributes:
      block: store-block length in trials, fixed when the folder is begun.
      done: bool [T], which trials are finished.
      notes: one line for everything that was found damaged and will be computed or written again.
    """

    def __init__(self, files: Any, layout: Layout, block: int, attrs: dict[str, str]) -> None:
        self.files, self.layout, self.block, self.attrs = files, layout, block, attrs
        self.done = np.zeros(layout.trials, bool)
        self.notes: list[str] = []
        self._blocks = Blocks(files, layout, block, f"{attrs['study_hash']} {attrs['data_fingerprint']}")
        self._marks: dict[int, Mark] = {}

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        study: Study,
        layout: Layout,
        *,
        fingerprint: str,
        attrs: Mapping[str, str],
        block: int,
    ) -> "Store":
        """Begin, continue or grow the run in a folder.

        Args:
          folder: made where it does not exist.
          study: what is run; its `trials` may be more than the folder's, never fewer.
          layout: the results' axes, with `study.trials` trials.
          fingerprint: of the data.
          attrs: further attributes of the results.
          block: trials of a store block, where the folder is new.

        Raises:
          InputError, DataError: as `check_folder`.
        """
        check_folder(folder, study, fingerprint=fingerprint)
        files = open_folder(folder)
        stored = inspect(files)
        attrs = {
            **attrs,
            "study": study.to_json(),
            "study_hash": study.hash,
            "data_fingerprint": fingerprint,
        }
        if stored is not None:
            check_study(files, stored, study, fingerprint)
            if stored.root is not None:
                block = stored.layout()[1]
        store = cls(files, layout, block, attrs)
        store._lay_out(study, stored)
        store._take_stock()
        return store

    def todo(self) -> list[tuple[int, int]]:
        """(first trial, number of trials) of what is missing, block by block, in order."""
        return missing(self.done, self.block)

    def write(self, first: int, block: Block) -> None:
        """Store the results of trials first, first + 1, …, which continue one block.

        Raises:
          DataError: the files cannot be written; what was finished before stays finished.
        """
        trials = self.layout.check(block)
        index = first // self.block
        old = self._marks.get(index)
        filled = old.filled if old else 0
        if first != index * self.block + filled or not 0 < trials <= self._blocks.size(index) - filled:
            raise ValueError(f"trials {first} to {first + trials - 1} do not continue block {index} of {self.block}")
        try:
            self._marks[index] = self._blocks.write(index, old, block)
        except Damaged as damage:
            raise DataError(f"{self.files.path(damage.key)}: {damage.why}; run the same command again") from None
        self.done[first : first + trials] = True

    def finish(self) -> None:
        """Write what is over all trials: the mean weight change."""
        left = int(np.count_nonzero(~self.done))
        if left:
            raise DataError(f"{self.files}: {left} of {len(self.done)} trials are missing; run the same command again")
        if self.layout.pixel_weights:
            total = sum((self._marks[i].weights for i in range(self._blocks.count)), WeightSum.zero(self.layout))
            self.files.write(zarr_files.chunk_key("weight_delta", *(0,) * 5), zarr_files.encode(total.mean()))

    def read(self) -> xr.Dataset:
        """The results."""
        return results(self.files, self._blocks, self.attrs)

    def close(self) -> None:
        """Let others use the folder."""
        self.files.remove(SCRATCH)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lay_out(self, study: Study, stored: Stored | None) -> None:
        write = self.files.write
        if stored is None:
            write(STUDY, (json.dumps(study.to_dict(), indent=2, sort_keys=True) + "\n").encode())
        documents = zarr_files.metadata(self.layout, self.block, Blocks.mark_bytes(self.layout), self.attrs)
        for name, values in self.layout.coords().items():
            step = zarr_files.TRIAL_CHUNK if name == "trial" else max(1, len(values))
            for i, start in enumerate(range(0, len(values), step)):
                part = values[start : start + step]
                chunk = np.pad(part, (0, step - len(part))) if name == "trial" else part
                write(zarr_files.chunk_key(name, i), zarr_files.encode(chunk))
        for name, content in documents.items():  # the root comes last: with it, and not before, the new length is there
            write(document(name), json.dumps(content, indent=1).encode())
        write(STUDY, (json.dumps(study.to_dict(), indent=2, sort_keys=True) + "\n").encode())

    def _take_stock(self) -> None:
        for index in range(self._blocks.count):
            try:
                mark = self._blocks.read_mark(index)
                if mark is None:
                    continue
                self._blocks.read(index, mark)
            except Damaged as damage:
                first, last = index * self.block, index * self.block + self._blocks.size(index) - 1
                self.notes.append(
                    f"{self.files.path(damage.key)} {damage.why}; trials {first} to {last} are computed again"
                )
                self._blocks.drop(index)
                continue
            self._marks[index] = mark
            self.done[index * self.block : index * self.block + mark.filled] = True
            self._blocks.write_done(index, mark.filled)
