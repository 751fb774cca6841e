"""Computes any trials of a study, a batch at a time, on the devices of this process."""

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import jax
import numpy as np

from jaxinv.data import Dataset
from jaxinv.engine.devices import in_huge_pages
from jaxinv.engine.program import Program, ProgramSpec, compiled_program, replicated
from jaxinv.engine.resolve import ArmGroup, ResolvedStudy
from jaxinv.engine.trial_batch import Device, choose_trial_batch, plan_evaluation, store_block_length
from jaxinv.errors import DataError
from jaxinv.results.schema import ResultBlock
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
      correct: bool [A, L, T, M], one array for each batch that was computed, where `per_image` asks for it.
    """

    def __init__(
        self,
        resolved: ResolvedStudy,
        devices: tuple[Device, ...],
        chunk: int | None,
        per_image: bool = False,
        processes: int = 1,
    ) -> None:
        self.resolved, self.devices, self.per_image = resolved, devices, per_image
        self.batch = choose_trial_batch(resolved, devices, chunk, processes)
        self.block = store_block_length(resolved, devices, self.batch.size * len(devices), processes)
        self.compile_seconds = self.train_seconds = 0.0
        self.correct: list[np.ndarray] = []
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
                    position += block.diverged.shape[2]
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
            spec = ProgramSpec(
                trial=replace(group.trial, keep_correct=self.per_image),
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
        study, shape = self.resolved.study, self.resolved.dataset.image_shape
        axes = len(study.arms), len(study.learning_rates), count
        groups = [group for group, _, _ in self._ready]

        def gather(name: str, dtype: Any = np.float32, tail: tuple[int, ...] = (), fill: Any = 0) -> np.ndarray:
            whole = np.full((*axes, *tail), fill, dtype)
            for group, result in zip(groups, results, strict=True):
                values = getattr(result, name)
                if values is not None:
                    place = np.ix_(group.positions, group.rate_positions)
                    whole[place] = np.moveaxis(np.asarray(values)[:count], 0, 2)
            return whole

        def by_layer() -> np.ndarray:
            layers = self.resolved.layers
            whole = np.full((*axes, len(layers)), np.nan, np.float32)
            for group, result in zip(groups, results, strict=True):
                columns = [layers.index(layer) for layer in group.layers]
                rows = np.ix_(group.positions, group.rate_positions, range(count), columns)
                whole[rows] = np.moveaxis(np.asarray(result.layer_delta)[:count], 0, 2)
            return whole

        evaluations = (len(study.eval_steps),)
        tests = len(self.resolved.dataset.x_test)
        if self.per_image:
            self.correct.append(gather("correct", bool, (tests,)))
        return ResultBlock(
            accuracy=(gather("hits", np.int32, evaluations) / tests).astype(np.float32),
            test_loss=gather("test_loss", tail=evaluations),
            diverged=gather("diverged", bool),
            layer_delta=by_layer(),
            weight_delta=gather("weight_delta", tail=shape, fill=np.nan) if self.resolved.has_pixel_weights else None,
        )
