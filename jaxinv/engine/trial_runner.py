"""Computes any trials of a study, a batch at a time, on the devices of this process."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import jax
import numpy as np

from jaxinv.data import Dataset
from jaxinv.engine.devices import in_huge_pages
from jaxinv.engine.keeping import NOTHING, Keeping, kept_values, named_leaves, schema_of, transfers
from jaxinv.engine.program import Program, ProgramSpec, compiled_program, replicated
from jaxinv.engine.resolve import ArmGroup, ResolvedStudy
from jaxinv.engine.trial_batch import Device, choose_trial_batch, plan_evaluation, store_block_length
from jaxinv.errors import DataError
from jaxinv.results.schema import ParamArray, ResultBlock
from jaxinv.training import keys
from jaxinv.training.inputs import Data
from jaxinv.training.trial import TrialResult

LOG = logging.getLogger(__name__)

MOST_PLACED = 4  # copies of one dataset that stay on the devices, for programs that read it differently

_placed: WeakKeyDictionary[Dataset, dict[Any, Data]] = WeakKeyDictionary()


class TrialRunner:
    """Runs trials of a study; compiles when the first are asked for.

    Attributes:
      block: trials of a store block that suit it.
      compile_seconds, train_seconds: what it has taken so far.
      schema: what the results are.
    """

    def __init__(
        self,
        resolved: ResolvedStudy,
        devices: tuple[Device, ...],
        chunk: int | None,
        keeping: Keeping = NOTHING,
        processes: int = 1,
    ) -> None:
        self.resolved, self.devices, self.keeping = resolved, devices, keeping
        self.schema = schema_of(resolved, keeping)
        self.batch = choose_trial_batch(resolved, devices, chunk, processes)
        self.block = store_block_length(resolved, devices, self.batch.size * len(devices), processes)
        self.compile_seconds = self.train_seconds = 0.0
        self._ready: list[tuple[ArmGroup, Program, tuple[Any, ...]]] = []

    @property
    def plan(self) -> str:
        """In words: what a call holds, and what decided it."""
        size, why = self.batch
        tiles = dict.fromkeys(plan_evaluation(group, self.devices[0], size).tile for group in self.resolved.groups)
        return (
            f"{size} trials a call on each of {len(self.devices)} {self.devices[0].platform} device(s), "
            f"evaluated by {' or '.join(map(str, tiles))} images ({why})"
        )

    def run(self, trials: Sequence[int]) -> Iterator[ResultBlock]:
        """The results of some trials, in order, a call's worth at a time. Out of memory: halve the batch and go on."""
        position = 0
        while position < len(trials):
            try:
                for block in self._stream(trials[position:]):
                    position += block.trials
                    yield block
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                self._halve()

    def _stream(self, trials: Sequence[int]) -> Iterator[ResultBlock]:
        """One call is always under way while the one before it is fetched."""
        self._prepare()
        size = self.batch.size * len(self.devices)
        pending: deque[tuple[int, list[TrialResult]]] = deque()
        start = time.monotonic()
        for first in range(0, len(trials), size):
            part = np.asarray(trials[first : first + size], np.uint32)
            padded = np.pad(part, (0, size - len(part)), mode="edge")
            pending.append((len(part), [call(self._root, padded, *rest) for _, call, rest in self._ready]))
            if len(pending) > 1:
                yield self._fetch(*pending.popleft())
        while pending:
            yield self._fetch(*pending.popleft())
        self.train_seconds += time.monotonic() - start

    def _prepare(self) -> None:
        if self._ready:
            return
        start = time.monotonic()
        study = self.resolved.study
        root = keys.root_key(study.seed)

        def prepared(group: ArmGroup) -> tuple[ArmGroup, Program, tuple[Any, ...]]:
            evaluation = plan_evaluation(group, self.devices[0], self.batch.size)
            data = self._data(group, evaluation.tile)
            folds, tested = transfers(self.resolved, self.keeping, group, evaluation.tile, data.test)
            data = data._replace(transfers=jax.device_put(tested, replicated(self.devices)))
            spec = ProgramSpec(
                trial=self.keeping.of(group.trial, folds),
                arms=len(group.positions),
                rates=len(group.rates),
                trial_batch=self.batch.size,
                devices=self.devices,
                wide_evaluation=evaluation.wide,
                precision=study.precision,
            )
            call = compiled_program(spec, data)
            rates = np.asarray(group.rates, np.float32)
            return group, call, (*call.place((rates, group.affine)), data)

        self._ready = [prepared(group) for group in self.resolved.groups]
        self._root = self._ready[0][1].place(root)
        self.compile_seconds += time.monotonic() - start

    def _data(self, group: ArmGroup, tile: int) -> Data:
        """A group's arrays on every device; images as stored stay there for the next run of the same dataset."""
        stored = group.images[0] is self.resolved.dataset.x_train
        kept = _placed.setdefault(self.resolved.dataset, {}) if stored else {}
        key = tile, self.devices, group.pixel_order is None
        if key not in kept:
            for other in list(kept):
                if other[1] != self.devices or len(kept) >= MOST_PLACED:
                    del kept[other]
            data = self.resolved.data(group, tile)
            if self.devices[0].platform == "cpu":
                data = data._replace(x_train=in_huge_pages(data.x_train))
            kept[key] = jax.device_put(data, replicated(self.devices))
        return kept[key]

    def _halve(self) -> None:
        size = self.batch.size
        if size == 1:
            raise DataError(
                "memory: one trial at a time does not fit the device; use a smaller batch_size or fewer arms"
            )
        LOG.debug("memory ran out with %d trials on a device: %d from here on", size, size // 2)
        self.batch = self.batch._replace(size=size // 2, why="halved when memory ran out")
        self._ready = []

    def _fetch(self, count: int, results: list[TrialResult]) -> ResultBlock:
        """Results of all groups, [T, A, L, ...] each, as one block [A, L, T, ...] in the order of the study's arms."""
        schema, dataset = self.schema, self.resolved.dataset
        axes = len(schema.arms), len(schema.learning_rates), count
        groups = [group for group, _, _ in self._ready]

        def gather(
            part: Callable[[TrialResult], Any], dtype: Any = np.float32, tail: tuple[int, ...] = (), fill: Any = 0
        ) -> np.ndarray:
            whole = np.full((*axes, *tail), fill, dtype)
            for group, result in zip(groups, results, strict=True):
                values = part(result)
                if values is not None:
                    place = np.ix_(group.positions, group.rate_positions)
                    whole[place] = np.moveaxis(np.asarray(values)[:count], 0, 2)
            return whole

        def by_layer() -> np.ndarray:
            whole = np.full((*axes, len(schema.layers)), np.nan, np.float32)
            for group, result in zip(groups, results, strict=True):
                columns = [schema.layers.index(layer) for layer in group.layers]
                rows = np.ix_(group.positions, group.rate_positions, range(count), columns)
                whole[rows] = np.moveaxis(np.asarray(result.layer_delta)[:count], 0, 2)
            return whole

        def networks(array: ParamArray) -> np.ndarray:
            whole = np.empty((len(array.arms), *axes[1:], *array.shape), array.dtype)
            for group, result in zip(groups, results, strict=True):
                if group.positions[0] in array.arms and result.networks is not None:
                    values = dict(named_leaves(*result.networks))[array.leaf]
                    place = np.ix_([array.arms.index(arm) for arm in group.positions], group.rate_positions)
                    whole[place] = np.moveaxis(np.asarray(values)[:count], 0, 2)
            return whole

        evaluations = (len(schema.steps),)
        hits = gather(lambda result: result.hits, np.int32, evaluations)
        values = {
            "accuracy": (hits / len(dataset.x_test)).astype(np.float32),
            "test_loss": gather(lambda result: result.test_loss, tail=evaluations),
            "diverged": gather(lambda result: result.diverged, bool),
            "layer_delta": by_layer(),
            "train_loss": gather(lambda result: result.train_loss, tail=evaluations),
            **kept_values(schema, gather, dataset.y_test),
            **{array.name: networks(array) for array in schema.params},
        }
        moved = None
        if schema.pixel_weights:
            moved = gather(lambda result: result.weight_delta, tail=dataset.image_shape, fill=np.nan)
        return ResultBlock(values, moved)
