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
from jaxinv.results.filled import FilledBlocks
from jaxinv.results.schema import ALWAYS_KEPT, CHOICES, FIRST_KEPT, ResultBlock, Schema, WeightSum
from jaxinv.store import inventory
from jaxinv.store.arrays import Arrays, Damaged, Missing
from jaxinv.store.blocks import Blocks, mark_type
from jaxinv.store.folder import Stored, check_can_hold, check_study, inspect
from jaxinv.store.hierarchy import MARK, ROOT_DOCUMENT, STUDY, build, lay_out, problems, seal
from jaxinv.store.inventory import Inventory
from jaxinv.store.lock import INVENTORY, Lock, acquire, join
from jaxinv.store.reading import check_weight_delta, identity, naming, results
from jaxinv.store.storage import Storage
from jaxinv.study import Study

KEEPING = {"kept", "metrics", "metric_fingerprints", "test_arms", "test_images", "classes", "params"}
"""Fields of a schema that say what is kept of each trial."""


class Store:
    """Results of a run in its folder. A context manager: leaving it lets others use the folder.

    Attributes:
      block: store-block length in trials, fixed when the folder is begun.
      done: bool [T], which trials are finished, as far as this process knows.
      notes: one line for everything that was found damaged, and what becomes of it.
    """

    def __init__(self, storage: Storage, schema: Schema, block: int, attrs: Mapping[str, str], lock: Lock) -> None:
        self.storage, self.schema, self.block, self.attrs = storage, schema, block, dict(attrs)
        self.notes = [lock.note] if lock.note else []
        self._lock = lock
        own = {name: attrs[name] for name in ("study_hash", "data_fingerprint")}
        self._around = build(schema, block, mark_type(schema).itemsize, **own)
        self._arrays = Arrays(storage, self._around[ROOT_DOCUMENT])
        self._blocks = Blocks(self._arrays, schema, block, identity(attrs))
        self._filled = FilledBlocks(schema.trials, block)
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
        storage = Storage(folder)
        attrs = {**attrs, "study": study.to_json(), "study_hash": study.hash, "data_fingerprint": fingerprint}
        with ExitStack() as stack:
            if process_index:
                inventory.wait(storage, token, timeout)
                lock = join(storage)
                stack.callback(lock.release)
                # Once more: process 0 may have gone before this one held the folder.
                found = inventory.wait(storage, token, 0)
                if (stored := inspect(storage)) is not None:
                    _, schema = _stored_axes(storage, stored, schema, block)
                store = cls(storage, schema, found.block, found.attrs, lock)
                store._filled.filled[:] = found.filled
                store._leads = False
            else:
                check_can_hold(folder, study, fingerprint=fingerprint)
                storage.prepare()
                lock = acquire(storage)
                stack.callback(lock.release)
                stored = inspect(storage)  # once more, now that nobody changes it
                if stored is not None:
                    check_study(storage, stored, study, fingerprint)
                    block, schema = _stored_axes(storage, stored, schema, block)
                storage.sweep()
                store = cls(storage, schema, block, attrs, lock)
                store._begin(study, stored)
                if process_count > 1:
                    found = Inventory(token, block, store._filled.filled.tolist(), store.attrs)
                    inventory.publish(storage, found)
            left = [first // store.block for first, _ in store._filled.left()]
            store._share = frozenset(np.array_split(left, process_count)[process_index].tolist())
            store._exit = stack.pop_all()
        return store

    @property
    def done(self) -> np.ndarray:
        """bool [T], which trials are finished, as far as this process knows."""
        return self._filled.done

    def todo(self) -> list[tuple[int, int]]:
        """(first trial, number of trials) of what this process is to compute: each within one block, in order."""
        return [span for span in self._filled.left() if span[0] // self.block in self._share]

    def write(self, first: int, block: ResultBlock, summed: WeightSum | None = None) -> None:
        """Store the results of trials first, first + 1, …, which continue one block.

        `summed` is the sum of their weight changes, where those of each trial are not at hand.

        Raises:
          DataError: the files cannot be written; what was finished before stays finished.
        """
        kept = {name: values for name, values in block.values.items() if name in self.schema.by_trial}
        block = block._replace(values=kept)  # 0.1.0 began without some
        trials = block.trials if summed is not None else self.schema.check(block)
        index = self._filled.check(first, trials)
        self._lock.renew()
        with naming(self.storage):
            old = self._blocks.read_mark(index) if self._filled.filled[index] else None
            self._blocks.write(index, old, block, summed)
        self._filled.add(first, trials)

    def finish(self) -> None:
        """Write what is over all trials: the mean weight change. Process 0 does, when all processes have written.

        Raises:
          DataError: trials are missing, since another process did not get to them.
        """
        if not self._leads:
            return
        with naming(self.storage):
            weights, filled = self._blocks.total()
        self._filled.filled[:] = filled
        left = self.schema.trials - sum(filled)
        if left:
            raise DataError(
                f"{self.storage}: {left} of {self.schema.trials} trials are missing; run the same command again"
            )
        if self.schema.pixel_weights:
            self._arrays.put("weight_delta", weights.mean())
        self.storage.remove(INVENTORY)

    def read(self) -> xr.Dataset:
        """The results, as `load` gives them."""
        return results(self.storage, self._blocks, self.attrs)

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
        unfinished = bool(self._filled.left())
        if stored and stored.root:
            kept = stored.attrs
            other = {name: text for name, text in self.attrs.items() if kept.get(name) != text and name != "study"}
            self.attrs = {**kept, "study": self.attrs["study"]}
            resumed = json.loads(kept.get("resumed_with", "[]"))
            if unfinished and other and other not in resumed:
                self.attrs["resumed_with"] = json.dumps([*resumed, other])
            there = Arrays(self.storage, json.dumps(stored.root).encode())
            for problem in problems(there, stored.documents, stored.schema()[0]):
                self._note(problem)
        elif stored and (damaged or self._filled.filled.any()):
            self.notes.append(f"{stored.problem}; it is written anew")
        if stored and self.storage.read(STUDY) is None:
            self._note(Missing(STUDY))
        if unfinished and self.schema.pixel_weights:
            self._arrays.remove("weight_delta")  # no mean over fewer trials is to stand among more
        elif self.schema.pixel_weights:
            mean = self._blocks.total()[0].mean()
            try:
                check_weight_delta(self._arrays, mean)
            except Damaged as damage:
                self._note(damage)
                self._arrays.put("weight_delta", mean)
        self._around[ROOT_DOCUMENT] = seal(self._around[ROOT_DOCUMENT], self.attrs)
        lay_out(self.storage, self._around, study)
        for index in damaged:
            self._blocks.drop(index)
        for index in hidden:
            self._blocks.write_done(index, int(self._filled.filled[index]))

    def _note(self, damage: Damaged) -> None:
        self.notes.append(f"{self.storage.path(damage.key)} {damage.why}; it is written anew")

    def _take_stock(self) -> tuple[list[int], list[int]]:
        """Find the finished trials; the blocks that are damaged, and those that `done` does not show as they are."""
        damaged, hidden = [], []
        for index, size in enumerate(self._filled.sizes.tolist()):
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
                    raise Missing(self._arrays.key(MARK, index))
            except Damaged as damage:
                damaged.append(index)
                trials = f"trials {index * self.block} to {index * self.block + size - 1}"
                self.notes.append(f"{self.storage.path(damage.key)} {damage.why}; {trials} are computed again")
                continue
            filled = mark.filled if mark else 0
            self._filled.filled[index] = min(filled, size)
            if shown > filled:
                problem = Damaged(self._arrays.key("done", index), "shows trials as finished that are not")
            if problem:
                self._note(problem)
            if shown != filled:
                hidden.append(index)
        return damaged, hidden


def _stored_axes(storage: Storage, stored: Stored, schema: Schema, block: int) -> tuple[int, Schema]:
    """The store-block length and the schema with which a folder goes on; InputError where it holds other axes.

    A run that 0.1.0 began goes on without what 0.1.0 did not keep.
    """
    if not stored.own:
        return block, schema
    there, block = stored.schema()
    if there.kept == FIRST_KEPT:
        kept = tuple(name for name in schema.kept if name not in set(ALWAYS_KEPT) - set(FIRST_KEPT))
        schema = dataclasses.replace(schema, kept=kept)
    for field in dataclasses.fields(Schema):
        old, new = getattr(there, field.name), getattr(schema, field.name)
        if field.name == "trials" or old == new:
            continue
        if field.name in KEEPING:
            raise InputError(f"out: the run in {str(storage)!r} keeps {_kept(there)}; give the same, or another folder")
        raise InputError(
            f"out: {str(storage)!r} holds results of other {field.name} ({old} there, {new} here); give another folder"
        )
    return block, schema


def _kept(schema: Schema) -> str:
    """In words: what a run keeps of its trials, beyond what all runs keep, and is tested under."""
    networks = ("params",) if schema.params else ()
    chosen = [name for name in (*schema.kept, *networks) if name in CHOICES]
    found = [f"keep={', '.join(chosen)}"] if chosen else []
    found += [f"metrics={', '.join(schema.metrics)} as they were then"] if schema.metrics else []
    found += [f"test_arms={', '.join(schema.test_arms)}"] if schema.test_arms else []
    return " and ".join(found) or "no more of its trials than all runs do"
