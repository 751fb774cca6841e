"""`run`: a study's trials, block by block, in memory or into a folder that can be resumed."""

import json
import logging
import os
import platform
import time
from contextlib import ExitStack
from functools import cache
from importlib import metadata
from typing import Any

import jax
import numpy as np
import xarray as xr

from jaxinv.engine.devices import local_devices
from jaxinv.engine.distributed import barrier, membership
from jaxinv.engine.resolve import ResolvedStudy, resolve
from jaxinv.engine.trial_batch import Device
from jaxinv.engine.trial_runner import TrialRunner
from jaxinv.errors import InputError, whole
from jaxinv.results.in_memory import InMemory
from jaxinv.results.schema import PER_TRIAL, ResultBlock, Schema
from jaxinv.store import Store, check_can_hold
from jaxinv.study import Study
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
      chunk: how many trials to compute in one call over all devices; None: what caches or memory allow. It changes
        no random number; on CPUs, weight changes and losses change by less than one part in 100,000.
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
        check_can_hold(out, study)
    resolved = resolve(study, data_dir=data_dir)
    LOG.debug("read %r", resolved.dataset)
    schema = Schema(
        arms=study.arm_names,
        learning_rates=study.learning_rates,
        steps=study.eval_steps,
        layers=resolved.layers,
        image_shape=resolved.dataset.image_shape,
        pixel_weights=resolved.has_pixel_weights,
        trials=study.trials,
    )
    check_memory(schema, stored=out is not None)
    members = membership()
    trial_runner = TrialRunner(resolved, chosen, chunk, per_image, processes=members.count)
    attributes = provenance(resolved, chosen)
    with ExitStack() as stack:
        if out is None:
            sink = InMemory(schema, attrs=attributes, block=trial_runner.block)
        else:
            fingerprint = resolved.dataset.fingerprint
            sink = stack.enter_context(
                Store.open(
                    out,
                    study,
                    schema,
                    fingerprint=fingerprint,
                    attrs=attributes,
                    block=trial_runner.block,
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
            for part in trial_runner.run(range(first, first + count)):
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
        results["correct"] = (("arm", "learning_rate", "trial", "image"), np.concatenate(trial_runner.correct, axis=2))
    seconds = {
        "compile": trial_runner.compile_seconds,
        "train": trial_runner.train_seconds,
        "total": time.monotonic() - started,
    }
    results.attrs["seconds"] = json.dumps({name: round(value, 6) for name, value in seconds.items()})
    results.attrs["plan"] = trial_runner.plan
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


def _join(parts: list[ResultBlock]) -> ResultBlock:
    """Blocks of consecutive trials as one."""
    joined: Any = [None if a[0] is None else np.concatenate(a, axis=2) for a in zip(*parts, strict=True)]
    return ResultBlock(*joined)


@cache
def versions() -> dict[str, str]:
    """Of what computed the results."""
    packages = ("jaxinv", "jax", "jaxlib", "flax", "optax", "numpy")
    return {name: metadata.version(name) for name in packages} | {"python": platform.python_version()}


def provenance(resolved: ResolvedStudy, devices: tuple[Device, ...]) -> dict[str, str]:
    """What identifies results: study, data, versions, device."""
    return {
        "study": resolved.study.to_json(),
        "study_hash": resolved.study.hash,
        "data_fingerprint": resolved.dataset.fingerprint,
        "versions": json.dumps(versions()),
        "device": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
    }
