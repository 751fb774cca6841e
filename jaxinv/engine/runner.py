"""`run`: a study's trials, block by block, in memory or into a folder that can be resumed."""

import json
import logging
import os
import platform
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from importlib import metadata
from typing import Any
from weakref import WeakKeyDictionary

import jax
import numpy as np
import xarray as xr

from jaxinv.data import Dataset
from jaxinv.engine import sizing
from jaxinv.engine.distributed import barrier, membership
from jaxinv.engine.job import Group, Job, prepare
from jaxinv.engine.program import Plan, Program, everywhere, program
from jaxinv.engine.sizing import Device
from jaxinv.errors import DataError, InputError, first_line, whole
from jaxinv.store import PER_TRIAL, Memory, ResultBlock, Schema, Store, check_folder
from jaxinv.study import Study
from jaxinv.training import keys
from jaxinv.training.trial import Data, Outcome
from jaxinv.utils.memory import available_bytes
from jaxinv.utils.progress import Report, reporting

LOG = logging.getLogger(__name__)


def run(
    study: Study,
    *,
    out: str | os.PathLike[str] | None = None,
    chunk: int | None = None,
    devices: int | None = None,
    progress: Report | bool | None = None,
    data_dir: str | None = None,
    per_image: bool = False,
) -> xr.Dataset:
    """Run a study, or what is missing of it.

    Args:
      study: what to run.
      out: a folder for the results. If it holds trials of this study already, those are kept and the rest is added.
        None: in memory only.
      chunk: how many trials to compute in one call over all devices; None: what caches or memory allow.
      devices: use only so many of this process's devices; None: all. Where `jax.distributed` has joined several
        processes, each works on its own share of the trials, all into one `out`.
      progress: True, False, None (a bar where standard error is a terminal) or a function of (done, total).
      data_dir: where tensorflow-datasets keeps its data.
      per_image: also return `correct` (arm, learning_rate, trial, image), which test images were classified correctly
        in the end; only in memory.

    Returns:
      An `xarray.Dataset` with dimensions arm, learning_rate, trial, step (the evaluated steps), row, col, channel and
      layer: `accuracy` and `test_loss` (arm, learning_rate, trial, step); `diverged` (arm, learning_rate, trial);
      `weight_delta` (arm, learning_rate, row, col, channel), the mean over trials that did not diverge of the largest
      change over outputs, where the first layer reads pixels; `layer_delta` (arm, learning_rate, trial, layer).
      A folder's results also have `done` (trial). Attributes hold the study's JSON and hash, the data's fingerprint,
      versions and device; and, of this call alone: `seconds` as JSON, `plan` (what a call holds, and why), `there` and
      `computed`: how many trials were finished before, and how many this process added.

    Raises:
      InputError: the study, or the folder, makes no sense; nothing was touched.
      DataError: the data, the disk or the memory failed; what was finished is safe.

    >>> results = run(Study(trials=2, steps=3, batch_size=10))
    >>> results.accuracy.dims, results.accuracy.shape
    (('arm', 'learning_rate', 'trial', 'step'), (2, 1, 2, 1))
    """
    started = time.monotonic()
    if not isinstance(study, Study):
        raise InputError(f"study: {study!r} is not allowed; give a ji.Study")
    if jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]  (made when JAX starts)
        raise InputError("jax_disable_jit: True is not allowed; give False, or step through what ji.make_trial returns")
    if chunk is not None:
        chunk = whole("chunk", chunk)
    chosen = local_devices(devices)
    if jax.process_count() > 1 and out is None:
        raise InputError("out: several processes need a folder that they share")
    if per_image and out is not None:
        raise InputError("per_image: stored runs do not keep it; leave out= away")
    if out is not None:
        check_folder(out, study)
    job = prepare(study, data_dir=data_dir)
    LOG.debug("read %r", job.dataset)
    schema = Schema(
        arms=study.arm_names,
        learning_rates=study.learning_rates,
        steps=study.eval_steps,
        layers=job.layers,
        image_shape=job.image_shape,
        pixel_weights=job.model.pixel_weights is not None,
        trials=study.trials,
    )
    check_memory(schema, stored=out is not None)
    members = membership()
    worker = Worker(job, chosen, chunk, per_image, processes=members.count)
    attributes = provenance(job, chosen)
    with ExitStack() as stack:
        if out is None:
            sink = Memory(schema, attrs=attributes, block=worker.block)
        else:
            fingerprint = job.dataset.fingerprint
            sink = stack.enter_context(
                Store.open(
                    out,
                    study,
                    schema,
                    fingerprint=fingerprint,
                    attrs=attributes,
                    block=worker.block,
                    process_index=members.index,
                    process_count=members.count,
                    token=members.token,
                )
            )
            for note in sink.notes:
                LOG.warning(note)
        report = stack.enter_context(reporting("training", progress))
        there = finished = int(sink.done.sum())
        if out is not None:
            LOG.debug("%s: %d of %d trials are there", out, finished, study.trials)
        todo = sink.todo()
        planned = there + sum(count for _, count in todo)  # of several processes each reports its own share
        report(finished, planned)
        for first, count in todo:
            parts: list[ResultBlock] = []
            for part in worker.blocks(range(first, first + count)):
                parts.append(part)
                finished += part.diverged.shape[2]
                report(finished, planned)
            sink.write(first, _join(parts))
            LOG.debug("trials %d to %d: kept after %.1f s", first, first + count - 1, time.monotonic() - started)
        barrier("jaxinv: all trials are stored", members)
        sink.finish()
        barrier("jaxinv: the run is finished", members)
        results = sink.read()
    if per_image:
        results["correct"] = (("arm", "learning_rate", "trial", "image"), np.concatenate(worker.correct, axis=2))
    seconds = {"compile": worker.compile_seconds, "train": worker.train_seconds, "total": time.monotonic() - started}
    results.attrs["seconds"] = json.dumps({name: round(value, 6) for name, value in seconds.items()})
    results.attrs["plan"] = worker.why
    results.attrs |= {"there": there, "computed": finished - there}
    return results


def check_memory(schema: Schema, *, stored: bool) -> None:
    """Refuse more trials than the memory of this machine can list, before anything is begun.

    Results kept in memory are there twice for a moment; stored ones, of which large ones are opened lazily, need room
    for the numbers of the trials and for which of them are done.
    """
    needed = 32 * schema.trials + (0 if stored else 2 * sum(schema.nbytes(name) for name in PER_TRIAL))
    free = available_bytes()
    if needed > free:
        wanted, there = (f"{size / 2**30:.1f} GiB" for size in (needed, free))
        instead = "" if stored else ", or an out folder, which needs less"
        raise InputError(f"trials: {schema.trials} need {wanted} of memory, and {there} are free; give fewer{instead}")


def local_devices(count: int | None) -> tuple[Device, ...]:
    """The first `count` of this process's devices, or all of them."""
    try:
        available = jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # either, where JAX_PLATFORMS names one that is not there
        asked = os.environ.get("JAX_PLATFORMS", "")
        raise DataError(f"devices: JAX finds none (JAX_PLATFORMS={asked!r}: {first_line(error)})") from None
    if count is None:
        return tuple(available)
    hint = "; JAX_NUM_CPU_DEVICES makes more of a CPU" if available[0].platform == "cpu" else ""
    return tuple(available[: whole("devices", count, 1, len(available), hint)])


_placed: WeakKeyDictionary[Dataset, dict[Any, Data]] = WeakKeyDictionary()


class Worker:
    """Computes the outcomes of any trials of a job, a call at a time; compiles when the first are asked for."""

    def __init__(
        self, job: Job, devices: tuple[Device, ...], chunk: int | None, per_image: bool, processes: int = 1
    ) -> None:
        self.job, self.devices, self.per_image = job, devices, per_image
        self.sizes = sizing.choose(job, devices, chunk, processes)
        self.block = sizing.block_length(job, devices, self.sizes.per_device * len(devices), processes)
        self.compile_seconds = self.train_seconds = 0.0
        self.correct: list[np.ndarray] = []
        self._ready: list[tuple[Group, Program, tuple[Any, ...]]] = []

    @property
    def why(self) -> str:
        """In words: what a call holds, and what decided it."""
        per_device, tile, _, why = self.sizes
        return (
            f"{per_device} trials a call on each of {len(self.devices)} {self.devices[0].platform} device(s), "
            f"evaluated by {tile} images ({why})"
        )

    def blocks(self, trials: Sequence[int]) -> Iterator[ResultBlock]:
        """The outcomes of some trials, in order, a call's worth at a time."""
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
        size = self.sizes.per_device * len(self.devices)
        pending: deque[tuple[int, list[Outcome]]] = deque()
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
        self._root = keys.root_key(self.job.study.seed)
        rates = np.asarray(self.job.study.learning_rates, np.float32)
        for group in self.job.groups:
            data = self._data(group)
            plan = Plan(
                trial=self.job.trial(group, keep_correct=self.per_image),
                arms=len(group.positions),
                rates=len(rates),
                per_device=self.sizes.per_device,
                devices=self.devices,
                wide_evaluation=self.sizes.wide,
                precision=self.job.study.precision,
            )
            call = program(plan, data)
            self._ready.append((group, call, (*call.place((rates, group.arm)), data)))
            self._root = call.place(self._root)
        self.compile_seconds += time.monotonic() - start

    def _data(self, group: Group) -> Data:
        """A group's arrays on every device; images as stored stay there for the next run of the same dataset."""
        stored = group.images[0] is self.job.dataset.x_train
        kept = _placed.setdefault(self.job.dataset, {}) if stored else {}
        key = self.sizes.tile, self.devices, self.job.lit(group) is None
        if key not in kept:
            kept.clear()
            data = self.job.data(group, self.sizes.tile)
            if self.devices[0].platform == "cpu":
                data = data._replace(x_train=in_huge_pages(data.x_train))
            kept[key] = jax.device_put(data, everywhere(self.devices))
        return kept[key]

    def _halve(self) -> None:
        if self.sizes.per_device == 1:
            raise DataError(
                "memory: one trial at a time does not fit the device; use a smaller batch_size or fewer arms"
            )
        half = self.sizes.per_device // 2
        LOG.debug("memory ran out with %d trials on a device: %d from here on", self.sizes.per_device, half)
        self.sizes = self.sizes._replace(per_device=half, why="halved when memory ran out")
        self._ready = []

    def _fetch(self, count: int, outcomes: list[Outcome]) -> ResultBlock:
        """Outcomes of all groups, [T, A, L, ...] each, as one block [A, L, T, ...] in the order of the study's arms."""
        order = np.argsort([position for group, _, _ in self._ready for position in group.positions])

        def gather(name: str) -> np.ndarray:
            arrays = [np.asarray(getattr(outcome, name))[:count] for outcome in outcomes]
            return np.moveaxis(np.concatenate(arrays, axis=1)[:, order], 0, 2)

        if self.per_image:
            self.correct.append(gather("correct"))
        pixels = outcomes[0].weight_delta is not None
        return ResultBlock(
            accuracy=(gather("hits") / len(self.job.dataset.x_test)).astype(np.float32),
            test_loss=gather("test_loss"),
            diverged=gather("diverged"),
            layer_delta=gather("layer_delta"),
            weight_delta=gather("weight_delta") if pixels else None,
        )


def in_huge_pages(array: np.ndarray) -> np.ndarray:
    """A copy that a CPU device reads where it is, in large pages where Linux grants them to NumPy (from 4 MB on).

    The images of a batch lie all over the training set: with pages of 4 KB each would need an address of its own to be
    looked up. JAX shares memory that begins at a multiple of 64 bytes, and copies any other.
    """
    room = np.empty(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _join(parts: list[ResultBlock]) -> ResultBlock:
    """Blocks of consecutive trials as one."""
    joined: Any = [None if a[0] is None else np.concatenate(a, axis=2) for a in zip(*parts, strict=True)]
    return ResultBlock(*joined)


@cache
def versions() -> dict[str, str]:
    """Of what computed the results."""
    packages = ("jaxinv", "jax", "jaxlib", "flax", "optax", "numpy")
    return {name: metadata.version(name) for name in packages} | {"python": platform.python_version()}


def provenance(job: Job, devices: tuple[Device, ...]) -> dict[str, str]:
    """What identifies results: study, data, versions, device."""
    return {
        "study": job.study.to_json(),
        "study_hash": job.study.hash,
        "data_fingerprint": job.dataset.fingerprint,
        "versions": json.dumps(versions()),
        "device": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
    }
