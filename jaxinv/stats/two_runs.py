"""Two runs of the same trials, for comparison: one results Dataset and the names of the two arms in it."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jaxinv.errors import InputError
from jaxinv.results import arm_index, arm_names, check_results, metric_names

if TYPE_CHECKING:
    import xarray as xr


def one_run(results: Any, arm_a: Any, arm_b: str | None, arm: str | None) -> "tuple[xr.Dataset, str, str]":
    """Results that hold both sides of a comparison, and the names of the two arms.

    Args:
      results: of one run, or its folder.
      arm_a, arm_b: two of its arms; or another run and None.
      arm: which arm of two runs; None where each has one.

    Raises:
      InputError: names that are not there, or runs whose trials are not paired.
    """
    if arm_b is not None:
        if arm is not None:
            raise InputError(f"arm: {arm!r} is not allowed beside two arms; give it with two runs")
        return opened(results), arm_a, arm_b
    if isinstance(arm_a, str) and arm_a in arm_names(opened(results)):
        raise InputError(f"arm_b: None is not allowed beside the arm {arm_a!r}; give another arm, or two runs")
    runs = name_runs(results, arm_a)
    several = next((found for run in runs.values() if len(found := arm_names(run)) > 1), None)
    if arm is None and several is not None:
        raise InputError(f"arm: None is not allowed; give one of {', '.join(several)}")
    ((a, b),) = arm_pairs(runs, arm)
    return as_one(runs), a, b


def arm_pairs(runs: "Mapping[str, xr.Dataset]", arm: str | None = None) -> list[tuple[str, str]]:
    """The arms of two runs that belong together, as the merged run calls them.

    Args:
      runs: name -> results.
      arm: one that both have; None: all that both have, or the only one of each.

    Raises:
      InputError: there are none.
    """
    (name_a, arms_a), (name_b, arms_b) = ((name, arm_names(run)) for name, run in runs.items())
    if arm is not None:
        for run in runs.values():
            arm_index(run, arm)
        chosen = [(arm, arm)]
    else:
        chosen = [(found, found) for found in arms_a if found in arms_b]
        if not chosen and len(arms_a) == len(arms_b) == 1:
            chosen = [(arms_a[0], arms_b[0])]
    if not chosen:
        has = f"{name_a} has {', '.join(arms_a)}; {name_b} has {', '.join(arms_b)}"
        raise InputError(f"runs: no arm is in both ({has}); give runs that share one, or have one each")
    return [(f"{name_a}/{a}", f"{name_b}/{b}") for a, b in chosen]


def as_one(runs: "Mapping[str, xr.Dataset]") -> "xr.Dataset":
    """The merged run, with what comparisons read of it."""
    from jaxinv.store import merge

    read = {name: [*metric_names(run), *({"diverged", "done"} & set(run))] for name, run in runs.items()}
    return merge({name: run[read[name]] for name, run in runs.items()})


def name_runs(first: Any, second: Any) -> "dict[str, xr.Dataset]":
    """Two runs by name: their folders' names, the whole paths where those are equal, or "a" and "b"."""
    stored = [isinstance(run, str | os.PathLike) for run in (first, second)]
    names = ["a", "b"]
    if all(stored):
        paths = [os.fspath(run).rstrip("/") for run in (first, second)]
        names = [os.path.basename(path) for path in paths]
        names = paths if names[0] == names[1] else names
        names = ["a", "b"] if names[0] == names[1] else names
    return dict(zip(names, (opened(run) for run in (first, second)), strict=True))


def opened(run: Any) -> "xr.Dataset":
    """Results, or those in a folder."""
    if isinstance(run, str | os.PathLike):
        from jaxinv.store import load

        return load(run)
    check_results(run)
    return run
