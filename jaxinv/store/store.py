"""`Store`: a run's results in a folder, block by block; begun, continued or grown by the same call."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import numpy as np
import xarray as xr

from jaxinv.errors import DataError
from jaxinv.results.filled import FilledBlocks
from jaxinv.results.schema import ResultBlock, Schema, WeightSum
from jaxinv.store.access import check_can_hold, is_finished_copy, refuse_to_grow
from jaxinv.store.arrays import Arrays
from jaxinv.store.blocks import Blocks, mark_type
from jaxinv.store.files import ROOT, Damaged, Missing
from jaxinv.store.folder import Stored, check_same_run, check_study, inspect, stored_axes
from jaxinv.store.hierarchy import MARK, ROOT_DOCUMENT, STUDY, build, lay_out, problems, seal
from jaxinv.store.lock import Lock, acquire, in_use
from jaxinv.store.question import UNTIL, check_same_question, ended_at, kept_question
from jaxinv.store.reading import check_weight_delta, identity, naming, results
from jaxinv.store.stock import noted, take_stock
from jaxinv.store.storage import Storage
from jaxinv.store.workers import POLL_SECONDS, Claims, Membership, among_workers, forget_claims, in_turn, join, listed
from jaxinv.study import Study

LOOK_SECONDS = 0.25  # between two looks at what other workers have stored


class Store:
    """Results of a run in its folder. A context manager: leaving it lets others use the folder.

    Attributes:
      block: store-block length in trials, fixed when the folder is begun.
      done: bool [T], which trials are finished, as far as this process knows.
      notes: one line for everything that was found damaged, and what becomes of it.
      by_others: trials that other workers of a shared run have finished meanwhile.
      ended: whether the run had ended by itself when it was opened.
    """

    def __init__(
        self, storage: Storage, study: Study, schema: Schema, block: int, attrs: Mapping[str, str], lock: Lock
    ) -> None:
        self.storage, self.block, self.attrs, self.ended = storage, block, dict(attrs), False
        self.notes = [lock.note] if lock.note else []
        self._lock, self._study = lock, study
        self._lay_out_for(schema)
        self._claims: Claims | None = None
        self._order: list[int] = []
        self._exit = ExitStack()
        self._looked = 0.0
        self.by_others = 0

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
        share: tuple[int, int] | None = None,
        until: Mapping[str, Any] | None = None,
        timeout: float = 600.0,
    ) -> "Store":
        """Begin, continue or grow the run in a folder.

        Everything stored is checked; a block that is damaged is forgotten and counts as not done.

        Workers share a run by opening the folder with `share`. The first one looks through it and lays it out, while
        those that come in the same moment wait. Who comes later finds the run as it is.

        Args:
          folder: a path, made where it does not exist, or a URL that fsspec opens.
          study: what is run; its `trials` may be more than the folder's, never fewer.
          schema: the results' axes, with `study.trials` trials.
          fingerprint: of the data.
          attrs: further attributes of the results. A run that goes on with other values (another JAX, say) keeps those
            it began with, and lists the others in `resumed_with`.
          block: trials of a store block, where the folder is new.
          share: (i, n), where this is worker i of n, from 0: which of the missing blocks to begin with. None: alone.
          until: what the run is to find out, as `Until.to_dict` says it. Where it has, it is opened with the trials
            that it took.
          timeout: seconds to wait for the first worker.

        Raises:
          InputError: the folder is none, cannot be written to, or holds something else, another study, other data,
            other axes, or more trials; or other workers use another version, or compute fewer trials.
          DataError: another run is using the folder, or what it holds cannot be read, or the disk is full.
        """
        if schema.trials != study.trials:
            raise ValueError("schema and study differ in trials")
        storage = Storage(folder)
        attrs = {**attrs, "study": study.to_json(), "study_hash": study.hash, "data_fingerprint": fingerprint}
        with ExitStack() as stack:
            check_can_hold(folder, study, fingerprint=fingerprint)
            copy = is_finished_copy(storage)
            storage.prepare()
            lock = Lock() if copy else acquire(storage) if share is None else join(storage, timeout)
            stack.callback(lock.release)
            if share is None and (storage.local is None or lock.note) and (others := listed(storage)):
                raise in_use(storage, among_workers(others[0]))
            stored = inspect(storage)  # once more, now that nobody changes it
            ended = ended_at(stored, until, study.trials)
            if ended is not None:
                study, schema = study.replace(trials=ended), schema.with_trials(ended)
            attrs = {**attrs, "study": study.to_json(), **kept_question(stored, until, ended is not None, study.trials)}
            if stored is not None:
                check_study(storage, stored, study, fingerprint)
                block, schema = stored_axes(storage, stored, schema, block)
            if stored is not None and copy:
                refuse_to_grow(storage, stored.trials, study.trials)
                store = cls(storage, study, schema, block, attrs, lock)
                store._come_in(stored)
            elif isinstance(lock, Membership) and not lock.alone:
                stored = check_same_run(storage, stored, study, attrs)
                check_same_question(storage, stored, until)
                store = cls(storage, study, schema, block, attrs, lock)
                store._come_in(stored)
            else:
                storage.sweep()
                forget_claims(storage)
                store = cls(storage, study, schema, block, attrs, lock)
                store._begin(stored)
            if isinstance(lock, Membership):
                lock.admit()
                store._claims = Claims(storage)
            left = [first // store.block for first, _ in store._filled.left()]
            store._order = in_turn(left, *((0, 1) if share is None or until is not None else share))
            store.ended = ended is not None
            store._exit = stack.pop_all()
        return store

    @property
    def done(self) -> np.ndarray:
        """bool [T], which trials are finished, as far as this process knows."""
        return self._filled.done

    def todo(self) -> Iterator[tuple[int, int]]:
        """(first trial, number of trials) of what is to be computed here: each within one block, in order.

        In a shared run each is claimed when it is asked for; what others have claimed is left out.
        """
        for index in self._order:
            if self._claims is not None:
                self._look()
                if self._is_full(index) or not self._claims.take(index):
                    continue
                self._count(index)
                if self._is_full(index):  # stored in this moment
                    self._claims.finished(index)
            if not self._is_full(index):
                yield self._filled.missing(index)

    def complete(self) -> bool:
        """Whether all trials are finished, by whomever; where others are at it, after a moment."""
        if self._claims is not None:
            self._look()
            if self._filled.left():
                time.sleep(POLL_SECONDS)
                self._looked = 0.0
                self._look()
        return not self._filled.left()

    def write(self, first: int, block: ResultBlock, summed: WeightSum | None = None) -> None:
        """Store the results of trials first, first + 1, …, which continue one block.

        `summed` is the sum of their weight changes, where those of each trial are not at hand.

        Raises:
          DataError: the files cannot be written; what was finished before stays finished.
        """
        kept = {name: values for name, values in block.values.items() if name in self.schema.by_trial}
        block = block._replace(values=kept)  # 0.1.0 began without some
        trials = block.trials if summed is not None else self.schema.check(block)
        self._lock.renew()
        self.storage.check_there(ROOT_DOCUMENT)
        if self._claims is not None:
            index = first // self.block
            self._count(index)
            self._claims.finished(index)
            if self._filled.filled[index] > first % self.block:  # by who took this worker for dead: the same bits
                return
        index = self._filled.check(first, trials)
        with naming(self.storage):
            old = self._blocks.read_mark(index) if self._filled.filled[index] else None
            self._blocks.write(index, old, block, summed)
        self._filled.add(first, trials)

    def finish(self) -> None:
        """Write what is over all trials: the mean weight change. Every worker that sees the last block done does.

        Raises:
          DataError: trials are missing.
        """
        self.storage.check_there(ROOT_DOCUMENT)
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

    def refresh(self) -> None:
        """See what other workers have stored."""
        if self._claims is not None:
            self._look()

    def values(self, name: str, first: int) -> np.ndarray | None:
        """A variable of the finished trials of a block from one of them on, [A, L, n, …]; None where it is missing."""
        index, start = divmod(first, self.block)
        if first >= self.schema.trials or self._filled.filled[index] <= start:
            return None
        with naming(self.storage):
            mark = self._blocks.read_mark(index)
            return self._blocks.read(index, mark, [name])[name][:, :, start:] if mark else None

    def end(self, trials: int, record: str, weights: Callable[[int, int], WeightSum]) -> None:
        """Let the run end with its first trials, all of which are finished.

        Whatever stops this, opening and ending the run once more completes it; workers may do it at the same time.
        Later trials are forgotten: they are of blocks that were under way.

        Args:
          trials: how many.
          record: what the run says of its end.
          weights: computes the sum of the weight changes of some trials: the first one, and how many.
        """
        index, last = divmod(trials - 1, self.block)
        with naming(self.storage):
            mark = self._blocks.read_mark(index)
            if mark is not None and mark.filled > last + 1:
                changed = weights(index * self.block, last + 1) if self.schema.pixel_weights else None
                self._blocks.shorten(index, mark, last + 1, changed)
            for later in range(index + 1, len(self._filled.sizes)):
                if self._filled.filled[later]:
                    self._blocks.drop(later)
        self._study = self._study.replace(trials=trials)
        self.attrs |= {"study": self._study.to_json(), UNTIL: record}
        self._lay_out_for(self.schema.with_trials(trials))
        self._filled.filled[:] = self._filled.sizes
        self._around[ROOT_DOCUMENT] = seal(self._around[ROOT_DOCUMENT], self.attrs)
        lay_out(self.storage, self._around, self._study)

    def read(self) -> xr.Dataset:
        """The results, as `load` gives them."""
        return results(self.storage, self._blocks, self.attrs)

    def close(self) -> None:
        """Let others use the folder, and compute what this process has claimed and not finished."""
        with self._exit:
            if self._claims is not None:
                self._claims.release()
                if not self._filled.left():
                    forget_claims(self.storage)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lay_out_for(self, schema: Schema) -> None:
        """Everything that depends on the number of trials; nothing is written yet."""
        self.schema = schema
        own = {name: self.attrs[name] for name in ("study_hash", "data_fingerprint")}
        self._around = build(schema, self.block, mark_type(schema).itemsize, **own)
        self._arrays = Arrays(self.storage, self._around[ROOT_DOCUMENT])
        self._blocks = Blocks(self._arrays, schema, self.block, identity(self.attrs))
        self._filled = FilledBlocks(schema.trials, self.block)

    def _come_in(self, stored: Stored) -> None:
        """Take the run as other workers have begun it. What is damaged shows when all is read."""
        self.attrs = stored.attrs
        for index in range(len(self._filled.sizes)):
            self._count(index)
        self.by_others = 0

    def _count(self, index: int) -> None:
        """See how many trials of a block are finished."""
        with naming(self.storage):
            mark = self._blocks.read_mark(index)
        filled = min(mark.filled if mark else 0, int(self._filled.sizes[index]))
        self.by_others += filled - int(self._filled.filled[index])
        self._filled.filled[index] = filled

    def _is_full(self, index: int) -> bool:
        return bool(self._filled.filled[index] == self._filled.sizes[index])

    def _look(self) -> None:
        """See which blocks other workers have stored, but not at every call: in an object store it takes a while."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        marks = {name.split(".")[1] for name in self.storage.names(f"{ROOT}/{MARK}") if name.startswith("c.")}
        for index in self._order:
            if not self._is_full(index) and str(index) in marks:
                self._count(index)

    def _begin(self, stored: Stored | None) -> None:
        """Take stock of the folder, bring what lies around the blocks up to date, forget damaged blocks."""
        damaged, hidden, notes = take_stock(self._blocks, self._filled) if stored else ([], [], [])
        self.notes += notes
        unfinished = bool(self._filled.left())
        if stored and stored.root:
            kept = stored.attrs
            own = ("study", UNTIL)
            other = {name: text for name, text in self.attrs.items() if kept.get(name) != text and name not in own}
            kept = {name: text for name, text in kept.items() if name != UNTIL or UNTIL in self.attrs}
            self.attrs = kept | {name: self.attrs[name] for name in own if name in self.attrs}
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
        lay_out(self.storage, self._around, self._study)
        for index in damaged:
            self._blocks.drop(index)
        for index in hidden:
            self._blocks.write_done(index, int(self._filled.filled[index]))

    def _note(self, damage: Damaged) -> None:
        self.notes.append(noted(self.storage, damage))
