"""Run a published experiment, judge it, and say what came out."""

import os
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from jaxinv import registry, store
from jaxinv.engine import runner
from jaxinv.errors import InputError, unknown
from jaxinv.experiments.published.experiment import Experiment, Plan, Runs, Size
from jaxinv.experiments.published.judging import judge
from jaxinv.study import Study
from jaxinv.utils.files import local_path, write_json
from jaxinv.utils.progress import Report, in_parts

SUMMARY = "summary.json"


def get_experiment(name: str) -> Experiment:
    """The published experiment of that name.

    Raises:
      InputError: a name that is not known.

    >>> get_experiment("cookbook").name
    'cookbook'
    """
    if name not in registry.EXPERIMENTS:
        raise unknown("experiment", name, registry.EXPERIMENTS)
    return import_module(f"jaxinv.experiments.published.{name.replace('-', '_')}").EXPERIMENT


def run_experiment(
    name: str,
    out: str | os.PathLike[str],
    *,
    size: Size,
    chunk: int | None = None,
    devices: int | None = None,
    progress: Report | bool | None = None,
) -> dict[str, Any]:
    """Run the studies of an experiment into `out`, each a stored run that can be resumed, and write `summary.json`.

    Args:
        name: of `registry.EXPERIMENTS`.
        out: a new or empty folder, or that of an earlier call.
        size: how large the studies are.
        chunk, devices, progress: as for `jaxinv.run`.

    Returns:
        The summary, as plain values for JSON.

    Raises:
        InputError: a name or a folder that makes no sense; nothing was touched.
        DataError: data, disk or memory failed; what was finished is safe.
    """
    started = time.monotonic()
    experiment, folder = get_experiment(name), local_path("out", out)
    plans = experiment.studies(size)
    plans = {name: _grown(folder / name, plan) for name, plan in plans.items()}
    check_folder(folder, {name: plan.study for name, plan in plans.items()})
    results = {
        name: runner.run(
            plan.study,
            out=folder / name,
            keep=plan.keep,
            test_arms=plan.test_arms,
            metrics=plan.metrics,
            chunk=chunk,
            devices=devices,
            progress=progress,
            data_dir=size.data_dir,
        )
        for name, plan in in_parts("study", plans.items())
    }
    runs = Runs(plans, results, size.data_dir, folder, size.name)
    summary = summarise(experiment, runs, size)
    summary |= {"seconds": {"total": round(time.monotonic() - started, 3)}, "out": str(folder)}
    write_json(folder / SUMMARY, summary)
    return summary


def summarise(experiment: Experiment, runs: Runs, size: Size) -> dict[str, Any]:
    """The verdict and what it rests on, with what identifies the experiment."""
    judged = judge(experiment, runs)
    about = {"experiment": experiment.name, "question": experiment.question, "source": experiment.source}
    about |= {"titles": {name: plan.title for name, plan in runs.plans.items()}}
    return about | {"size": size.name, "seed": size.seed, "places": dict(size.places)} | judged


def check_folder(folder: Path, wanted: Mapping[str, Study]) -> None:
    """Refuse a folder that holds something else before anything is written."""
    for name, study in wanted.items():
        store.check_can_hold(folder / name, study)
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / name).is_dir() for name in wanted):
        raise InputError(
            f"out: {folder} holds something else; give a new or empty folder, or that of an earlier replicate"
        )


def _grown(folder: Path, plan: Plan) -> Plan:
    """A plan with as many trials as its folder was made for, if those are more: a run can grow, but not shrink."""
    try:
        planned = store.planned_trials(folder) if folder.is_dir() else 0
    except InputError:  # something else is there: the check says so, before anything is touched
        return plan
    return plan._replace(study=plan.study.replace(trials=max(plan.study.trials, planned)))
