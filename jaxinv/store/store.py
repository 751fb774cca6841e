"""`Store`: a run's results in a folder, block by block; begun, continued or grown by the same call."""

import dataclasses
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType

import numpy as np
import xarray as xr

from jaxinv.errors import DataError, InputError
from jaxinv.results.schema import ResultBlock, Schema
from jaxinv.store import plan as plans
from jaxinv.store import zarr_files
from jaxinv.store.blocks import Blocks
from jaxinv.store.documents import lay_out, problems, put_chunk
from jaxinv.store.files import Files, open_files
from jaxinv.store.folder import STUDY, Stored, check_folder, check_study, inspect
from jaxinv.store.lock import PLAN, Lock, acquire, join
from jaxinv.store.progress import Progress
from jaxinv.store.reading import WEIGHT_DELTA, check_weight_delta, identity, naming, results
from jaxinv.store.zarr_files import MARK, Damaged
from jaxinv.study import Study
from jaxinv.utils.files import PART


class Store:
    """Results of a run in its folder. A context manager: leaving it lets others use the folder.

    Attributes:
      block: store-block length in trials, fixed when the folder is begun.
      done: bool [T], which trials are finished, as far as this process knows.
      notes: one line for everything that was found damaged, and what becomes of it.
    """

    def __init__(self, files: Files, schema: Schema, block: int, attrs: Mapping[str, str], lock: Lock) -> None:
        self.files, self.schema, self.block, self.attrs = files, schema, block, dict(attrs)
        self.notes = [lock.note] if lock.note else []
        self._lock = lock
        self._blocks = Blocks(files, schema, block, identity(attrs))
        self._progress = Progress(schema.trials, block)
        self._share: frozenset[int] = frozenset()
        self._leads = True
        self._exit = ExitStack()

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        study: Study,
        schema: Schema,
        *,
        fingerprint: str,
        attrs: Mapping[str, str],
        block: int,
        process_index: int = 0,
        process_count: int = 1,
        token: str = "",
        timeout: float = 600.0,
    ) -> "Store":
        """Begin, continue or grow the run in a folder.

        Everything stored is checked; a block that is damaged is forgotten and counts as not done.

        The processes of one distributed run open the folder together. Process 0 looks through it and says what is
        missing; the others wait for that. Each gets its share of the missing blocks (`todo`); only process 0 finishes.

        Args:
          folder: a path, made where it does not exist, or a URL that fsspec opens.
          study: what is run; its `trials` may be more than the folder's, never fewer.
          schema: the results' axes, with `study.trials` trials.
          fingerprint: of the data.
          attrs: further attributes of the results. A run that goes on with other values (another JAX, say) keeps those
            it began with, and lists the others in `resumed_with`.
          block: trials of a store block, where the folder is new.
          process_index: which process of the run this is.
          process_count: how many there are.
          token: a name of this one launch that all its processes share; needed when there are several.
          timeout: seconds to wait for process 0.

        Raises:
          InputError: the folder is none, cannot be written to, or holds something else, another study, other data,
            other axes, or more trials.
          DataError: another run is using the folder, or what it holds cannot be read, or the disk is full.
        """
        if schema.trials != study.trials or (process_count > 1 and not token):
            raise ValueError("schema and study differ in trials, or several processes have no token")
        files = open_files(folder)
        attrs = {**attrs, "study": study.to_json(), "study_hash": study.hash, "data_fingerprint": fingerprint}
        with ExitStack() as stack:
            if process_index:
                plans.wait(files, token, timeout)
                lock = join(files)
                stack.callback(lock.release)
                plan = plans.wait(files, token, 0)  # once more: process 0 may have gone before this one held the folder
                store = cls(files, schema, plan.block, plan.attrs, lock)
                store._progress.filled[:] = plan.filled
                store._leads = False
            else:
                check_folder(folder, study, fingerprint=fingerprint)
                files.prepare()
                lock = acquire(files)
                stack.callback(lock.release)
                stored = inspect(files)  # once more, now that nobody changes it
                if stored is not None:
                    check_study(files, stored, study, fingerprint)
                    block = _stored_block(files, stored, schema) or block
                for name in files.names() or ():
                    if name.startswith(PART):  # of a process that died
                        files.remove(name)
                store = cls(files, schema, block, attrs, lock)
                store._begin(study, stored)
                if process_count > 1:
                    plan = plans.Plan(token, block, store._progress.filled.tolist(), store.attrs)
                    plans.publish(files, plan)
            left = [first // store.block for first, _ in store._progress.left()]
            store._share = frozenset(np.array_split(left, process_count)[process_index].tolist())
            store._exit = stack.pop_all()
        return store

    @property
    def done(self) -> np.ndarray:
        """bool [T], which trials are finished, as far as this process knows."""
        return self._progress.done

    def todo(self) -> list[tuple[int, int]]:
        """(first trial, number of trials) of what this process is to compute: each within one block, in order."""
        return [span for span in self._progress.left() if span[0] // self.block in self._share]

    def write(self, first: int, block: ResultBlock) -> None:
        """Store the results of trials first, first + 1, …, which continue one block.

        Raises:
          DataError: the files cannot be written; what was finished before stays finished.
        """
        trials = self.schema.check(block)
        index = self._progress.check(first, trials)
        self._lock.renew()
        with naming(self.files):
            old = self._blocks.read_mark(index) if self._progress.filled[index] else None
            self._blocks.write(index, old, block)
        self._progress.add(first, trials)

    def finish(self) -> None:
        """Write what is over all trials: the mean weight change. Process 0 does, when all processes have written.

        Raises:
          DataError: trials are missing, since another process did not get to them.
        """
        if not self._leads:
            return
        with naming(self.files):
            weights, filled = self._blocks.total()
        self._progress.filled[:] = filled
        left = self.schema.trials - sum(filled)
        if left:
            raise DataError(
                f"{self.files}: {left} of {self.schema.trials} trials are missing; run the same command again"
            )
        if self.schema.pixel_weights:
            put_chunk(self.files, WEIGHT_DELTA, weights.mean())
        self.files.remove(PLAN)

    def read(self) -> xr.Dataset:
        """The results, as `load` gives them."""
        return results(self.files, self._blocks, self.attrs)

    def close(self) -> None:
        """Let others use the folder."""
        self._exit.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, study: Study, stored: Stored | None) -> None:
        """Take stock of the folder, bring what lies around the blocks up to date, forget damaged blocks."""
        damaged, hidden = self._take_stock() if stored else ([], [])
        unfinished = bool((self._progress.filled < self._progress.sizes).any())
        if stored and stored.root:
            kept = stored.attrs()
            other = {name: text for name, text in self.attrs.items() if kept.get(name) != text and name != "study"}
            self.attrs = {**kept, "study": self.attrs["study"]}
            resumed = json.loads(kept.get("resumed_with", "[]"))
            if unfinished and other and other not in resumed:
                self.attrs["resumed_with"] = json.dumps([*resumed, other])
            for problem in problems(self.files, stored.documents(), stored.schema()[0]):
                self.notes.append(f"{self.files.path(problem.key)} {problem.why}; it is written anew")
        elif stored and (damaged or self._progress.filled.any()):
            self.notes.append(f"{stored.problem}; it is written anew")
        if stored and self.files.read(STUDY) is None:
            self.notes.append(f"{self.files.path(STUDY)} is missing; it is written anew")
        if unfinished and self.schema.pixel_weights:
            self.files.remove(WEIGHT_DELTA)  # no mean over fewer trials is to stand among more
        elif self.schema.pixel_weights:
            mean = self._blocks.total()[0].mean()
            try:
                check_weight_delta(self.files, mean)
            except Damaged as damage:
                self.notes.append(f"{self.files.path(damage.key)} {damage.why}; it is written anew")
                put_chunk(self.files, damage.key, mean)
        documents = zarr_files.metadata(self.schema, self.block, Blocks.mark_bytes(self.schema), self.attrs)
        lay_out(self.files, documents, self.schema, study)
        for index in damaged:
            self._blocks.drop(index)
        for index in hidden:
            self._blocks.write_done(index, int(self._progress.filled[index]))

    def _take_stock(self) -> tuple[list[int], list[int]]:
        """Find the finished trials; the blocks that are damaged, and those that `done` does not show as they are."""
        damaged, hidden = [], []
        for index, size in enumerate(self._progress.sizes.tolist()):
            shown, problem = -1, None
            try:
                shown = self._blocks.read_done(index)
            except Damaged as damage:
                problem = damage
            try:
                mark = self._blocks.read_mark(index)
                if mark is not None:
                    self._blocks.read(index, mark)
                elif shown:
                    raise Damaged(zarr_files.chunk_key(MARK, index, 0), "is missing")
            except Damaged as damage:
                damaged.append(index)
                trials = f"trials {index * self.block} to {index * self.block + size - 1}"
                self.notes.append(f"{self.files.path(damage.key)} {damage.why}; {trials} are computed again")
                continue
            filled = mark.filled if mark else 0
            self._progress.filled[index] = min(filled, size)
            if shown != filled:
                hidden.append(index)
            if problem or shown > filled:
                why = problem.why if problem else "shows trials as finished that are not"
                self.notes.append(f"{self.files.path(zarr_files.chunk_key('done', index))} {why}; it is written anew")
        return damaged, hidden


def _stored_block(files: Files, stored: Stored, schema: Schema) -> int | None:
    """The store-block length of a folder; InputError where it holds other axes."""
    if not stored.own:
        return None
    there, block = stored.schema()
    for field in dataclasses.fields(Schema):
        old, new = getattr(there, field.name), getattr(schema, field.name)
        if field.name != "trials" and old != new:
            raise InputError(f"out: {str(files)!r} holds results of other {field.name} ({old} there, {new} here)")
    return block
