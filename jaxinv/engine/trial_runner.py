"""Computes any trials of a study, a batch at a time, on the hardware of this process."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import jax
import numpy as np

from jaxinv.data import Dataset, is_shared
from jaxinv.engine.devices import Hardware, in_huge_pages
from jaxinv.engine.keeping import NOTHING, Keeping, kept_values, named_leaves, schema_of
from jaxinv.engine.planning import program_spec
from jaxinv.engine.program import Program, ProgramSpec, compiled_programs, replicated
from jaxinv.engine.resolve import ArmGroup, ResolvedStudy
from jaxinv.engine.trial_batch import choose_trial_batch, fit_to_memory, plan_evaluation, store_block_length
from jaxinv.errors import DataError
from jaxinv.models.targets import target_of
from jaxinv.results.schema import ParamArray, ResultBlock, WeightSum, join
from jaxinv.training import keys
from jaxinv.training.inputs import Data
from jaxinv.training.trial import TrialResult

LOG = logging.getLogger(__name__)

LARGE_BYTES = 256 << 20  # images of which workers on one machine share one copy, though huge pages would be 3 % faster
CALLS_AHEAD = 2  # calls for each that runs at a time, before another span is asked for
CALLS_QUEUED = 5  # the same within a span that is begun: the cores go on while a store block is written
MOST_PLACED = 4  # copies of one dataset that stay on the devices, for programs that read it differently

_placed: WeakKeyDictionary[Dataset, dict[Any, Data]] = WeakKeyDictionary()
_placing = threading.Lock()  # runs in several threads share what is placed


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
        hardware: Hardware,
        chunk: int | None,
        keeping: Keeping = NOTHING,
        workers: int = 1,
        planned: int | None = None,
    ) -> None:
        """`planned`: for how many trials to lay out the work, where a run is likely to end before the study's."""
        self.resolved, self.hardware, self.keeping, self.chunk = resolved, hardware, keeping, chunk
        self.devices = hardware.devices
        self.schema = schema_of(resolved, keeping)
        if planned is not None:
            resolved = replace(resolved, study=resolved.study.replace(trials=planned))
        self.batch = choose_trial_batch(resolved, hardware, chunk)
        self.block = store_block_length(resolved, hardware, self.batch.size, workers)
        self.compile_seconds = self.train_seconds = 0.0
        self._ready: list[tuple[ArmGroup, Program, tuple[Any, ...]]] = []

    @property
    def plan(self) -> str:
        """In words: what a call holds, and what decided it."""
        size, why = self.batch
        tiles = dict.fromkeys(plan_evaluation(group, self.devices[0], size).tile for group in self.resolved.groups)
        units = "cores" if self.hardware.cpu else f"{self.devices[0].platform} devices"
        return (
            f"{self.hardware.units} {units}, {size} trials per call on each, "
            f"{' or '.join(map(str, tiles))} test images at a time ({why})"
        )

    def run(self, spans: Iterable[range]) -> Generator[ResultBlock]:
        """The results of some spans of trials, in order, a call's worth at a time; no call reaches into a second span.

        Spans are asked for as late as keeping the hardware busy allows. Out of memory: halve the batch and go on.
        """
        self._prepare()
        start = time.monotonic()
        left, rest = iter(spans), deque[range]()
        under_way: deque[tuple[range, Future[list[TrialResult]]]] = deque()
        with ThreadPoolExecutor(self.hardware.calls, "jaxinv") as pool:
            try:
                while True:
                    while self._wants_more(len(under_way), rest) and (part := self._next_part(rest, left)):
                        under_way.append((part, pool.submit(self._call, part)))
                    if not under_way:
                        break
                    part, results = under_way[0]
                    try:
                        block = self._fetch(len(part), results.result())
                    except jax.errors.JaxRuntimeError as error:
                        if "RESOURCE_EXHAUSTED" not in str(error):
                            raise
                        wait([future for _, future in under_way if not future.cancel()])
                        rest.extendleft(part for part, _ in reversed(under_way))
                        under_way.clear()
                        self._halve()
                    else:
                        under_way.popleft()
                        yield block
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # leaving the block waits for the calls under way
                self.train_seconds += time.monotonic() - start

    def run_whole(
        self,
        spans: Iterable[tuple[int, int]],
        advance: Callable[[int], object],
        end: Callable[[int, ResultBlock], int | None] | None = None,
    ) -> Generator[tuple[int, ResultBlock]]:
        """The results of spans of trials, in order: (first trial, results) for each (first trial, number of trials).

        `advance` is told how many trials each call adds. `end` is asked after each call, (first trial, results),
        before which trial to end; None: go on. What the last span has before that is the last that is given.
        """
        taken, parts = deque[range](), list[ResultBlock]()

        def noted() -> Iterator[range]:
            for first, count in spans:
                taken.append(range(first, first + count))
                yield taken[-1]

        with closing(self.run(noted())) as computed:
            for part in computed:
                begin = taken[0].start
                now = begin + sum(part.trials for part in parts)
                parts.append(part)
                advance(part.trials)
                if end is not None and (stop := end(now, part)) is not None:
                    if stop > begin:
                        yield begin, join(parts).part(0, stop - begin)
                    return
                if sum(part.trials for part in parts) == len(taken[0]):
                    yield taken.popleft().start, join(parts)
                    parts.clear()

    def weight_sum(self, first: int, trials: int) -> WeightSum:
        """The sum of the weight changes of trials first, first + 1, …, computed."""
        total = WeightSum.zero(self.schema)
        for block in self.run([range(first, first + trials)]):
            total = total.add(block)
        return total

    def _wants_more(self, under_way: int, rest: deque[range]) -> bool:
        return under_way < self.hardware.calls * (CALLS_QUEUED if rest else CALLS_AHEAD)

    def _next_part(self, rest: deque[range], left: Iterator[range]) -> range | None:
        """The next trials for one call: from spans that are begun, or from the next one; None where all are."""
        span = rest.popleft() if rest else next(left, None)
        if span is None:
            return None
        size = self.batch.size * len(self.devices)
        if len(span) > size:
            rest.appendleft(span[size:])
        return span[:size]

    def _call(self, part: range) -> list[TrialResult]:
        """One call of each group's program, in a thread of its own; waits for the results."""
        numbers = np.asarray(part, np.uint32)
        padded = np.pad(numbers, (0, self.batch.size * len(self.devices) - len(part)), mode="edge")
        return jax.device_get([call(self._root, padded, *rest) for _, call, rest in self._ready])

    def _prepare(self) -> None:
        if self._ready:
            return
        start = time.monotonic()
        root = keys.root_key(self.resolved.study.seed)

        def wanted(group: ArmGroup) -> tuple[ProgramSpec, Data]:
            data = self._data(group, plan_evaluation(group, self.devices[0], self.batch.size).tile)
            spec, data = program_spec(self.resolved, self.keeping, group, self.devices, self.batch.size, data)
            return spec, data._replace(transfers=jax.device_put(data.transfers, replicated(self.devices)))

        groups = self.resolved.groups
        programs = [wanted(group) for group in groups]
        compiled = compiled_programs(programs)
        if not self.hardware.cpu and self.chunk is None:
            fits = fit_to_memory(self.batch, sum(program.bytes for program in compiled), self.devices[0])
            if fits.size < self.batch.size:
                self.batch = fits
                programs = [wanted(group) for group in groups]
                compiled = compiled_programs(programs)
        for group, call, (_, data) in zip(groups, compiled, programs, strict=True):
            rates = np.asarray(group.rates, np.float32)
            affine = group.affine_for(call.spec.target)
            self._ready.append((group, call, (*call.place((rates, affine)), data)))
        self._root = self._ready[0][1].place(root)
        self.compile_seconds += time.monotonic() - start

    def _data(self, group: ArmGroup, tile: int) -> Data:
        """A group's arrays on every device; images as stored stay there for the next run of the same dataset."""
        stored = group.images[0] is self.resolved.dataset.x_train
        with _placing:
            kept = _placed.setdefault(self.resolved.dataset, {}) if stored else {}
            target = target_of(self.devices[0].platform)
            key = tile, self.devices, group.pixel_order is None, target, group.changes_batches
            if key not in kept:
                for other in list(kept):
                    if other[1] != self.devices or len(kept) >= MOST_PLACED:
                        del kept[other]
                data = self.resolved.data(group, tile, target)
                if self.hardware.cpu and not (data.x_train.nbytes > LARGE_BYTES and is_shared(data.x_train)):
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
        self._prepare()

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
