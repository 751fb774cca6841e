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

import jax
import xarray as xr

from jaxinv.engine.devices import Hardware, local_hardware
from jaxinv.engine.distributed import barrier, membership
from jaxinv.engine.keeping import Keeping, check_keeping, schema_of
from jaxinv.engine.resolve import ResolvedStudy, resolve
from jaxinv.engine.trial_runner import TrialRunner
from jaxinv.errors import InputError, whole
from jaxinv.preprocess import Preprocess
from jaxinv.results.in_memory import InMemory
from jaxinv.results.schema import Schema
from jaxinv.store import Adding, Store, check_can_hold, free_disk_bytes, lacks_arms, load
from jaxinv.study import Study
from jaxinv.training.evaluate import Metric
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
      devices: use only so many of this process's devices; None: all. Where `jax.distributed` has joined several
        processes, each works on its own share of the trials, all into one `out`.
      progress: True, False, None (a bar on a terminal or in a notebook) or a function of (done, total).
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
        raise InputError(f"study: {study!r} is not allowed; give a ji.Study")
    if jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]  (made when JAX starts)
        raise InputError("jax_disable_jit: True is not allowed; give False, or step through what ji.make_trial returns")
    if chunk is not None:
        chunk = whole("chunk", chunk)
    hardware = local_hardware(devices)
    if jax.process_count() > 1 and out is None:
        raise InputError("out: None is not allowed for several processes; give a folder that they share")
    keeping = check_keeping(keep, metrics, test_arms)
    if per_image and "correct" not in keeping.keep:
        keeping = check_keeping((*keeping.keep, "correct"), metrics, test_arms)
    adding = out is not None and lacks_arms(out, study)
    if out is not None and not adding:
        check_can_hold(out, study)
    resolved = resolve(study, data_dir=data_dir)
    LOG.debug("read %r", resolved.dataset)
    if out is not None and adding:
        _add_arms(out, resolved, keeping, hardware, chunk, progress)
    schema = schema_of(resolved, keeping)
    check_memory(schema, stored=out is not None)
    if out is not None:
        check_disk(schema, out)
    members = membership()
    trial_runner = TrialRunner(resolved, hardware, chunk, keeping, workers=members.count)
    attributes = provenance(resolved, hardware)
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
        with closing(trial_runner.run_whole(todo, counter(report, there, planned))) as blocks:
            for first, block in blocks:
                sink.write(first, block)
                finished += block.trials
                seconds = time.monotonic() - started
                LOG.debug("trials %d to %d: kept after %.1f s", first, first + block.trials - 1, seconds)
        barrier("jaxinv: all trials are stored", members)
        sink.finish()
        barrier("jaxinv: the run is finished", members)
        results = sink.read()
    seconds = {
        "compile": trial_runner.compile_seconds,
        "train": trial_runner.train_seconds,
        "total": time.monotonic() - started,
    }
    results.attrs["seconds"] = json.dumps({name: round(value, 6) for name, value in seconds.items()})
    results.attrs["plan"] = trial_runner.plan
    results.attrs |= {"there": there, "computed": finished - there}
    return results


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
        todo = run.todo()
        count = counter(report, study.trials - sum(count for _, count in todo), study.trials)
        with closing(trial_runner.run_whole(todo, count)) as blocks:
            for first, block in blocks:
                run.write(first, trial_runner.schema, block)
        run.finish()


def counter(report: Report, finished: int, planned: int) -> Callable[[int], None]:
    """A function that is told how many trials are added, and reports how many are finished."""

    def advance(added: int) -> None:
        nonlocal finished
        finished += added
        report(finished, planned)

    report(finished, planned)
    return advance


def check_memory(schema: Schema, *, stored: bool) -> None:
    """Refuse more trials than the memory of this machine can list, before anything is begun.

    Results kept in memory are there twice for a moment; stored ones, of which large ones are opened lazily, need room
    for the numbers of the trials and for which of them are done.
    """
    needed = 32 * schema.trials + (0 if stored else 2 * sum(schema.nbytes(name) for name in schema.by_trial))
    free = available_bytes()
    if needed > free:
        wanted, there = (f"{size / 2**30:.1f} GiB" for size in (needed, free))
        instead = "" if stored else ", or an out folder, which needs less"
        raise InputError(f"trials: {schema.trials} need {wanted} of memory, and {there} are free; give fewer{instead}")


def check_disk(schema: Schema, out: str | os.PathLike[str]) -> None:
    """Refuse networks that will not fit the disk, before anything is begun. Weights hardly shrink when compressed."""
    needed = sum(schema.nbytes(array.name) for array in schema.params)
    free = free_disk_bytes(out)
    if needed and free is not None and needed > free:
        wanted, there = (f"{size / 2**30:.1f} GiB" for size in (needed, free))
        raise InputError(
            f"keep: params of {schema.trials} trials need {wanted}, and {there} are free at {os.fspath(out)!r}; give "
            "fewer trials, or another folder"
        )


@cache
def versions() -> dict[str, str]:
    """Of what computed the results."""
    packages = ("jaxinv", "jax", "jaxlib", "flax", "optax", "numpy")
    return {name: metadata.version(name) for name in packages} | {"python": platform.python_version()}


def provenance(resolved: ResolvedStudy, hardware: Hardware) -> dict[str, str]:
    """What identifies results: study, data, versions, device."""
    return {
        "study": resolved.study.to_json(),
        "study_hash": resolved.study.hash,
        "data_fingerprint": resolved.dataset.fingerprint,
        "versions": json.dumps(versions()),
        "device": str(hardware),
    }
