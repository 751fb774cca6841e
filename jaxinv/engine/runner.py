"""`run`: a study's trials, block by block, in memory or into a folder that can be resumed."""

import json
import logging
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from functools import cache
from importlib import metadata
from typing import Any

import jax
import xarray as xr

from jaxinv.engine.devices import Hardware, local_hardware
from jaxinv.engine.distributed import joined_share, wait_for_all
from jaxinv.engine.executors import Executor, check_executor, run_shares
from jaxinv.engine.keeping import Keeping, check_keeping, schema_of
from jaxinv.engine.launchers import Share, check_share, launched_share
from jaxinv.engine.resolve import ResolvedStudy, resolve
from jaxinv.engine.room import check_disk, check_memory
from jaxinv.engine.trial_runner import TrialRunner
from jaxinv.engine.watching import PLANNED, Watch
from jaxinv.errors import InputError, brief, whole
from jaxinv.preprocess import Preprocess
from jaxinv.results.in_memory import InMemory
from jaxinv.results.schema import ResultBlock, Schema
from jaxinv.stats.stopping import MAX_TRIALS, Until
from jaxinv.store import (
    Adding,
    Store,
    check_can_hold,
    count_finished,
    end_of,
    lacks_arms,
    load,
)
from jaxinv.study import Study
from jaxinv.training.evaluate import Metric
from jaxinv.utils.progress import Report, reporting

LOG = logging.getLogger(__name__)


def run(
    study: Study,
    *,
    out: str | os.PathLike[str] | None = None,
    chunk: int | None = None,
    devices: int | None = None,
    share: Share | None = None,
    executor: Executor | None = None,
    shares: int | None = None,
    until: Until | None = None,
    max_trials: int | None = None,
    progress: Report | bool | None = None,
    on_block: Callable[[dict[str, Any]], object] | None = None,
    data_dir: str | None = None,
    per_image: bool = False,
    keep: str | Iterable[str] = (),
    metrics: Mapping[str, Metric] | None = None,
    test_arms: str | Iterable[str | Preprocess] = (),
) -> xr.Dataset:
    """Run a study, or what is missing of it.

    Args:
      study: what to run.
      out: a folder for the results. If it holds trials of this study already, those are kept and the rest is added; a
        finished run of the study with fewer arms gets those that it lacks.
        None: in memory only.
      chunk: how many trials to compute in one call over all devices; None: what caches or memory allow. It changes
        no random number; on CPUs, weight changes and losses change by less than one part in 100,000.
      devices: how many of this machine's cores, or accelerators, to use; None: all.
      share: (i, n): this is worker i of n, from 0, that share the run in `out`. It computes its part of the missing
        blocks, then those that nobody else computes, and returns when all trials are finished. Workers come and go as
        they like. None: what a SLURM array, a Kubernetes indexed job, MPI or `jax.distributed` says, where there is
        `out`; otherwise alone.
      executor: any object with submit(function, *arguments), as concurrent.futures, `dask.distributed.Client`, submitit
        and mpi4py have them. It is handed the shares of the run; this process computes nothing, and waits.
      shares: how many shares to hand to the executor.
      until: what to find out about two arms. With the answer the run stops: the results hold the trials that it took,
        and their attribute `until` says, as JSON, what was asked and what the answer is. It is looked for after certain
        numbers of trials, so where it is found does not depend on machines, workers or interruptions.
      max_trials: after how many trials to stop without an answer; by default 10,000. With `until`, they stand in the
        place of the study's own `trials`.
      progress: True, False, None (a bar on a terminal or in a notebook) or a function of (done, total).
      on_block: a function that is called with a dict after each block of trials: "first" (the first trial), "trials",
        "done" and "total" (trials), "seconds" (since the start) and "accuracy" (of each arm: the mean over the block's
        trials and learning rates, after the last step).
      data_dir: where tensorflow-datasets keeps its data.
      per_image: the same as "correct" in `keep`.
      keep: more of each trial, as it is after the last step; stored too, where there is `out`. "correct" (arm,
        learning_rate, trial, image): which test images are classified right. "predictions" (arm, learning_rate, trial,
        image): the class that each is taken for. "confusion" (arm, learning_rate, trial, label, prediction): how many
        images of each class are taken for each. "params": the network itself, for `load_params` and `predictor`.
      metrics: functions (logits [B, C], labels [B]) -> [B] by name. Each becomes a variable of that name (arm,
        learning_rate, trial, step): its mean over the test images.
      test_arms: preprocessings under which every network is tested in the end as well, whatever it was trained under:
        `transfer_accuracy` and `transfer_loss` (arm, learning_rate, trial, test_arm).

    Returns:
      An `xarray.Dataset` with dimensions arm, learning_rate, trial, step (the evaluated steps), row, col, channel and
      layer: `accuracy`, `test_loss` and `train_loss` (arm, learning_rate, trial, step), the last one a mean over the
      updates since the evaluation before; `diverged` (arm, learning_rate, trial);
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
        raise InputError(f"study: {brief(study)} is not allowed; give a ji.Study")
    if jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]  (made when JAX starts)
        raise InputError("jax_disable_jit: True is not allowed; give False, or step through what ji.make_trial returns")
    if out is not None and not isinstance(out, str | os.PathLike):
        raise InputError(f"out: {brief(out)} is not allowed; give a folder or a URL")
    if on_block is not None and not callable(on_block):
        raise InputError(f"on_block: {brief(on_block)} is not allowed; give a function of a dict")
    if chunk is not None:
        chunk = whole("chunk", chunk)
    if until is not None:
        study = study.replace(trials=MAX_TRIALS if max_trials is None else whole("max_trials", max_trials))
    elif max_trials is not None:
        raise InputError(f"max_trials: {max_trials!r} is not allowed without until; give both, or a study with trials")
    if executor is not None:
        if share is not None:
            raise InputError("share: an executor hands out the shares; give one of the two")
        options = {"chunk": chunk, "devices": devices, "data_dir": data_dir, "per_image": per_image}
        options |= {"keep": keep, "metrics": metrics, "test_arms": test_arms}
        return _run_by(executor, check_executor(executor, shares, out), study, out, until, options, progress)
    if shares is not None:
        raise InputError(f"shares: {shares!r} is not allowed without an executor; give one, or share=(i, n)")
    hardware = local_hardware(devices)
    if share is not None:
        share = check_share(share, out)
    elif jax.process_count() > 1:
        share = check_share(joined_share(), out)
    elif out is not None:
        share = launched_share()
    keeping = check_keeping(keep, metrics, test_arms)
    if per_image and "correct" not in keeping.keep:
        keeping = check_keeping((*keeping.keep, "correct"), metrics, test_arms)
    adding = out is not None and lacks_arms(out, study)
    if adding and until is not None:
        raise InputError("arms: a run that is to find out something gets no further arms; give a number of trials")
    if out is not None and not adding:
        check_can_hold(out, study)
    resolved = resolve(study, data_dir=data_dir)
    LOG.debug("read %r", resolved.dataset)
    if out is not None and adding:
        if share is not None and share[1] > 1:
            raise InputError("arms: several workers cannot add arms to a run; run the command in one, without a share")
        _add_arms(out, resolved, keeping, hardware, chunk, progress)
    schema = schema_of(resolved, keeping)
    watch = None
    if until is not None:
        watch = Watch(until, schema, len(resolved.dataset.x_test))
        if out is not None:
            watch.check_pilot(out)
    check_memory(schema, stored=out is not None or watch is not None)
    if out is not None and watch is None:
        check_disk(schema, out)
    planned = None if watch is None else min(PLANNED, study.trials)
    workers = share[1] if share else 1
    trial_runner = TrialRunner(resolved, hardware, chunk, keeping, workers, planned)
    attributes = provenance(resolved, hardware)
    with ExitStack() as stack:
        if out is None:
            sink = InMemory(schema, attrs=attributes, block=trial_runner.block, room=planned)
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
                    share=share,
                    until=None if until is None else until.to_dict(),
                )
            )
            watch = None if sink.ended else watch
            for note in sink.notes:
                LOG.warning(note)
        report = stack.enter_context(reporting("training", progress))
        there, computed = int(sink.done.sum()), 0
        if out is not None:
            LOG.debug("%s: %d of %d trials are there", out, there, study.trials)

        def advance(trials: int) -> None:
            nonlocal computed
            computed += trials
            report(min(there + computed + sink.by_others, study.trials), study.trials)

        def end(first: int, part: ResultBlock) -> int | None:
            if watch is None:
                return None
            watch.catch_up(sink)
            return watch.end(first, part)

        advance(0)
        while not (watch is not None and watch.catch_up(sink)) and not sink.complete():
            with closing(trial_runner.run_whole(sink.todo(), advance, end)) as blocks:
                for first, block in blocks:
                    sink.write(first, block)
                    seconds = time.monotonic() - started
                    LOG.debug("trials %d to %d: kept after %.1f s", first, first + block.trials - 1, seconds)
                    if on_block is not None:
                        on_block(describe_block(first, block, schema, int(sink.done.sum()), seconds))
        if watch is not None and (stop := watch.catch_up(sink)) is not None:
            sink.end(stop.n, watch.record, trial_runner.weight_sum)
            computed = max(0, min(computed, stop.n - there))
            report(stop.n, stop.n)
        sink.finish()
        wait_for_all()
        results = sink.read()
    seconds = {
        "compile": trial_runner.compile_seconds,
        "train": trial_runner.train_seconds,
        "total": time.monotonic() - started,
    }
    results.attrs["seconds"] = json.dumps({name: round(value, 6) for name, value in seconds.items()})
    results.attrs["plan"] = trial_runner.plan
    results.attrs |= {"there": there, "computed": computed}
    return results


def _run_by(
    executor: Executor,
    shares: int,
    study: Study,
    out: Any,
    until: Until | None,
    options: dict[str, Any],
    progress: Report | bool | None,
) -> xr.Dataset:
    """Have an executor compute the shares of a run."""
    started = time.monotonic()
    check_can_hold(out, study)
    there = count_finished(out)
    question = None
    if until is not None:
        options, question = options | {"until": until, "max_trials": study.trials}, until.to_dict()

    def finished() -> tuple[int, int]:
        end = end_of(out, question, study.trials)
        return (count_finished(out), study.trials) if end is None else (end, end)

    with reporting("training", progress) as report:
        report(there, study.trials)
        run_shares(executor, shares, _run_share, (study, out, options), finished, report)
    results = load(out)
    seconds = {"compile": 0.0, "train": 0.0, "total": round(time.monotonic() - started, 6)}
    results.attrs["seconds"] = json.dumps(seconds)
    results.attrs["plan"] = f"{shares} shares by {type(executor).__name__}"
    results.attrs |= {"there": there, "computed": max(0, results.sizes["trial"] - there)}
    return results


def _run_share(study: Study, out: Any, options: dict[str, Any], share: Share, launch: str) -> int:
    """One share of a run, wherever an executor calls this; how many trials it has computed."""
    return run(study, out=out, share=share, progress=False, **options).attrs["computed"]


def _add_arms(
    out: str | os.PathLike[str],
    resolved: ResolvedStudy,
    keeping: Keeping,
    hardware: Hardware,
    chunk: int | None,
    progress: Report | bool | None,
) -> None:
    """Compute, for every trial of a finished run, the arms of the study that it lacks."""
    study = resolved.study
    if jax.process_count() > 1:
        raise InputError("arms: several processes cannot add arms to a run; run the command in one, without them")
    there = load(out).arm.values.tolist()
    lacking = [position for position, name in enumerate(study.arm_names) if name not in there]
    more = ResolvedStudy(
        study=study.replace(arms=tuple(study.arms[position] for position in lacking)),
        dataset=resolved.dataset,
        preprocesses=tuple(resolved.preprocesses[position] for position in lacking),
        treatments=tuple(resolved.treatments[position] for position in lacking),
    )
    LOG.info("%s: adding %s to %s", os.fspath(out), ", ".join(more.study.arm_names), ", ".join(there))
    trial_runner = TrialRunner(more, hardware, chunk, keeping)
    options = {"fingerprint": resolved.dataset.fingerprint, "attrs": provenance(resolved, hardware)}
    schema = schema_of(resolved, keeping)
    with Adding(out, study, schema, **options) as run, reporting("adding arms", progress) as report:
        todo = list(run.todo())
        finished = study.trials - sum(count for _, count in todo)

        def advance(trials: int) -> None:
            nonlocal finished
            finished += trials
            report(finished, study.trials)

        advance(0)
        with closing(trial_runner.run_whole(todo, advance)) as blocks:
            for first, block in blocks:
                run.write(first, trial_runner.schema, block)
        run.finish()


def describe_block(first: int, block: ResultBlock, schema: Schema, done: int, seconds: float) -> dict[str, Any]:
    """What `on_block` is told."""
    accuracy = block.values["accuracy"][..., -1].mean(axis=(1, 2))
    return {
        "first": first,
        "trials": block.trials,
        "done": done,
        "total": schema.trials,
        "seconds": seconds,
        "accuracy": dict(zip(schema.arms, accuracy.tolist(), strict=True)),
    }


@cache
def versions() -> dict[str, str]:
    """Of what computed the results."""
    packages = ("jaxinv", "jax", "jaxlib", "flax", "optax", "numpy")
    return {name: metadata.version(name) for name in packages} | {"python": platform.python_version()}


def provenance(resolved: ResolvedStudy, hardware: Hardware) -> dict[str, str]:
    """What identifies results: study, data, versions, device; and how many test images an accuracy is a share of."""
    return {
        "study": resolved.study.to_json(),
        "study_hash": resolved.study.hash,
        "data_fingerprint": resolved.dataset.fingerprint,
        "test_images": str(len(resolved.dataset.x_test)),
        "versions": json.dumps(versions()),
        "device": str(hardware),
    }
