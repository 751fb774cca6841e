"""Several runs of the same trials as one: their arms side by side, paired trial by trial."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from jaxinv.arm import ARM_FIELDS
from jaxinv.errors import InputError
from jaxinv.results.assemble import arm_coords
from jaxinv.results.selection import check_results, coordinate, done_mask
from jaxinv.study import study_hash

SHARED = ("seed", "steps", "eval_every", "illumination", "precision")
"""Fields of a study that all arms share."""


def merge_results(runs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The results of several runs as those of one, whose arms are called `<run>/<arm>`.

    The trials are those that all runs have finished. What some runs did not keep is left out, and so is `weight_delta`,
    a mean over trials, where they finished other trials.

    Args:
      runs: name -> results.

    Raises:
      InputError: the runs differ in their seed, their data, their steps or their learning rates, so that trial t of one
        is not paired with trial t of the other; the message says in what.
    """
    if not runs:
        raise InputError("runs: none given; give one or more")
    for name, results in runs.items():
        check_results(results)
        if "study" not in results.attrs:
            raise InputError(f"runs: {name!r} does not say of which study it is; give what ji.run or ji.load returns")
    names = list(runs)
    studies = {name: json.loads(results.attrs["study"]) for name, results in runs.items()}
    first = names[0]
    for name in names[1:]:
        _check_paired(first, runs[first], studies[first], name, runs[name], studies[name])
    trials = _common([coordinate(results, "trial")[done_mask(results)] for results in runs.values()])
    if not len(trials):
        raise InputError(f"runs: {', '.join(names)} have no finished trial in common; give runs that do")
    whole = all(np.array_equal(coordinate(results, "trial"), trials) for results in runs.values())
    kept = [name for name in runs[first].data_vars if all(name in results for results in runs.values())]
    kept = [name for name in kept if name != "done" and "arm" in runs[first][name].dims]
    if not whole:
        kept = [name for name in kept if "trial" in runs[first][name].dims]
    parts = [_renamed(name, results[kept].sel(trial=trials), runs[first]) for name, results in runs.items()]
    merged = xr.concat(parts, dim="arm", join="outer", coords="minimal", compat="override", combine_attrs="override")
    study = _study(studies, len(trials))
    merged = merged.assign_coords(arm_coords(study, coordinate(merged, "learning_rate")))
    merged.attrs = {
        "study": json.dumps(study, sort_keys=True),
        "study_hash": study_hash(study),
        "data_fingerprint": runs[first].attrs["data_fingerprint"],
        **{name: runs[first].attrs[name] for name in ("test_images", "evaluations") if name in runs[first].attrs},
        "merged": json.dumps({name: results.attrs["study_hash"] for name, results in runs.items()}),
    }
    return merged


def _check_paired(
    first: str, a: xr.Dataset, study_a: Mapping[str, Any], name: str, b: xr.Dataset, study_b: Mapping[str, Any]
) -> None:
    """Refuse two runs whose trials are not the same ones."""
    differ = [
        f"{field}: {study_a.get(field)} in {first}, {study_b.get(field)} in {name}"
        for field in SHARED
        if study_a.get(field) != study_b.get(field)
    ]
    if a.attrs["data_fingerprint"] != b.attrs["data_fingerprint"]:
        prints = (results.attrs["data_fingerprint"][:12] for results in (a, b))
        differ.append("dataset: fingerprint {} in {}, {} in {}".format(*_interleaved(prints, (first, name))))
    rates = [coordinate(results, "learning_rate") for results in (a, b)]
    if len(rates[0]) != len(rates[1]) or (len(rates[0]) > 1 and not np.allclose(rates[0], rates[1])):
        differ.append(
            "learning_rate: {} in {}, {} in {}".format(*_interleaved([rate.tolist() for rate in rates], (first, name)))
        )
    if differ:
        raise InputError(
            f"runs: trials of {first!r} and {name!r} are not paired ({'; '.join(differ)}); give runs that agree in that"
        )


def _interleaved(values: Any, names: Any) -> list[Any]:
    return [item for pair in zip(values, names, strict=True) for item in pair]


def _common(trials: list[np.ndarray]) -> np.ndarray:
    """The numbers that are in all of some lists."""
    found = trials[0]
    for others in trials[1:]:
        found = np.intersect1d(found, others)
    return found


def _renamed(name: str, results: xr.Dataset, first: xr.Dataset) -> xr.Dataset:
    """Results whose arms have the name of their run in front, at the first run's learning-rate labels."""
    arms = [f"{name}/{arm}" for arm in coordinate(results, "arm")]
    results = results.drop_vars([name for name in results.coords if name not in results.dims])
    return results.assign_coords(arm=arms, learning_rate=coordinate(first, "learning_rate"))


def _study(studies: Mapping[str, dict[str, Any]], trials: int) -> dict[str, Any]:
    """The study whose results the merged ones are: each arm says in what it differs from the first run's study."""
    base = next(iter(studies.values()))
    arms = []
    for name, study in studies.items():
        own = {
            field: study.get(field) for field in ARM_FIELDS if field in study and study.get(field) != base.get(field)
        }
        for arm in study["arms"]:
            changes = arm if isinstance(arm, dict) and "own" not in arm else {"name": arm, "preprocess": arm}
            label = changes["name"]["own"] if isinstance(changes["name"], dict) else changes["name"]
            arms.append({**own, **changes, "name": f"{name}/{label}"})
    return {**base, "arms": arms, "trials": trials}
