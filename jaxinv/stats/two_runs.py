"""Two runs of the same trials, for comparison: one results Dataset and the names of the two arms in it."""

import os
from typing import TYPE_CHECKING, Any

from jaxinv.errors import InputError
from jaxinv.results import arm_names, check_results

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
    names = [arm_names(run) for run in runs.values()]
    if arm is None:
        several = next((found for found in names if len(found) > 1), None)
        if several is not None:
            raise InputError(f"arm: None is not allowed; give one of {', '.join(several)}")
        chosen = [found[0] for found in names]
    else:
        chosen = [arm, arm]
    from jaxinv.store import merge

    merged = merge(runs)
    a, b = (f"{name}/{own}" for name, own in zip(runs, chosen, strict=True))
    return merged, a, b


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
