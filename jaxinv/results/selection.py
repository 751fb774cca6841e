"""Selects from results: arms, learning rates, steps, metrics and finished trials, each checked in one line."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxinv.errors import DataError, InputError, brief, unknown

if TYPE_CHECKING:
    import xarray as xr

AXES = ("arm", "learning_rate", "trial", "step")
PIXELS = ("row", "col", "channel")
LABELS = {"accuracy": "test accuracy", "test_loss": "test loss", "train_loss": "training loss"}
SHOWN = 20  # evaluated steps that a message lists


def check_results(results: Any, *metrics: str) -> None:
    """Refuse what is no results at all, such as the name of a folder, or lacks one of their axes or the metrics."""
    if not hasattr(results, "dims"):
        raise InputError(f"results: {brief(results)} is not allowed; give what ji.run or ji.load returns")
    missing = [axis for axis in AXES if axis not in results.dims]
    if missing:
        raise InputError(f"results: no dimension {missing[0]!r}; give results with dims {', '.join(AXES)}")
    for metric in metrics:
        if metric not in metric_names(results):
            raise unknown("metric", metric, metric_names(results))


def coordinate(results: "xr.Dataset", axis: str) -> np.ndarray:
    """The labels along an axis; 0, 1, … where it has none."""
    return np.asarray(results[axis].values) if axis in results.coords else np.arange(results.sizes[axis])


# --- arms ------------------------------------------------------------------------------------------------------------


def arm_names(results: "xr.Dataset") -> list[str]:
    """The names along the arm axis."""
    return [str(name) for name in coordinate(results, "arm")]


def arm_index(results: "xr.Dataset", arm: str, field: str = "arm") -> int:
    """Where an arm is; `field` is the argument that a refusal names."""
    names = arm_names(results)
    if arm not in names:
        raise unknown(field, arm, names)
    return names.index(arm)


# --- learning rates --------------------------------------------------------------------------------------------------


def learning_rates(results: "xr.Dataset") -> list[float]:
    """The learning rates along their axis."""
    return [float(rate) for rate in coordinate(results, "learning_rate")]


def rates_used(results: "xr.Dataset") -> np.ndarray:
    """The learning rates that were used, float64 [A, L]: an arm's own take the place of the axis."""
    if "rate" in results.coords:
        return results["rate"].transpose("arm", "learning_rate").values.astype(np.float64)
    return np.tile(np.asarray(learning_rates(results)), (results.sizes["arm"], 1))


def rate_index(results: "xr.Dataset", wanted: float | None) -> int:
    """Where a learning rate is; None: the only one."""
    rates = np.asarray(learning_rates(results))
    if wanted is None:
        if rates.size != 1:
            raise InputError(f"learning_rate: none given, and the results have several; give one of {_listed(results)}")
        return 0
    near = np.flatnonzero(np.isclose(rates, float(wanted), rtol=1e-5, atol=0.0))  # coordinates may be float32
    if near.size == 0:
        raise InputError(f"learning_rate: {wanted!r} is not in the results; give one of {_listed(results)}")
    return int(near[np.argmin(np.abs(rates[near] - float(wanted)))])


def rate_pair(results: "xr.Dataset", wanted: Any) -> tuple[float, float]:
    """Two arms' learning rates; `wanted` is one for both, or a pair."""
    chosen = tuple(wanted) if isinstance(wanted, tuple | list) else (wanted, wanted)
    if len(chosen) != 2:
        raise InputError(
            f"learning_rate: {wanted!r} is not allowed; give one, or one for each arm, of {_listed(results)}"
        )
    rates = learning_rates(results)
    return rates[rate_index(results, chosen[0])], rates[rate_index(results, chosen[1])]


def rate_by_arm(results: "xr.Dataset", wanted: Any) -> dict[str, float]:
    """Each arm's learning rate; `wanted` is one for all arms, or a mapping arm -> learning rate."""
    check_results(results)
    by_arm = wanted if isinstance(wanted, Mapping) else dict.fromkeys(arm_names(results), wanted)
    for arm in by_arm:
        arm_index(results, arm, "learning_rate")
    rates = learning_rates(results)
    return {arm: rates[rate_index(results, by_arm.get(arm))] for arm in arm_names(results)}


def _listed(results: "xr.Dataset") -> str:
    return ", ".join(f"{rate:g}" for rate in learning_rates(results))


# --- steps -----------------------------------------------------------------------------------------------------------


def steps(results: "xr.Dataset") -> list[int]:
    """The evaluated steps: how many updates had been made at each evaluation."""
    return [int(step) for step in coordinate(results, "step")]


def step_index(results: "xr.Dataset", step: int | None = None) -> int:
    """Where an evaluated step is; the last by default."""
    evaluated = coordinate(results, "step")
    if evaluated.size == 0:
        raise InputError("results: no step was evaluated; give results with one or more")
    if step is None:
        return int(np.argmax(evaluated))
    at = np.flatnonzero(evaluated == step)
    if at.size == 0:
        shown = ", ".join(map(str, evaluated[:SHOWN])) + (", ..." if evaluated.size > SHOWN else "")
        raise InputError(f"step: {step!r} was not evaluated; give one of {shown}")
    return int(at[0])


# --- trials ----------------------------------------------------------------------------------------------------------


def done_mask(results: "xr.Dataset") -> np.ndarray:
    """bool [T], which of the planned trials have run.

    Raises:
        DataError: none has.
    """
    check_results(results)
    if "done" not in results:
        return np.ones(results.sizes["trial"], bool)
    done = np.asarray(results["done"].values, bool)
    if not done.any():
        raise DataError(f"results: none of {done.size} trials is done yet")
    return done


def done_trials(results: "xr.Dataset") -> "xr.Dataset":
    """The results without trials that have not run yet."""
    done = done_mask(results)
    return results if done.all() else results.isel(trial=np.flatnonzero(done))


def diverged_flags(results: "xr.Dataset") -> np.ndarray:
    """bool [A, L, T], which trials diverged; none where results do not say."""
    if "diverged" not in results:
        return np.zeros([results.sizes[axis] for axis in AXES[:3]], bool)
    return results["diverged"].transpose(*AXES[:3]).values.astype(bool)


# --- metrics ---------------------------------------------------------------------------------------------------------


def metric_names(results: "xr.Dataset") -> list[str]:
    """The variables over all four dims: what was measured of every trial at every evaluation."""
    return [str(name) for name, variable in results.data_vars.items() if set(variable.dims) == set(AXES)]


def metric_variable(results: "xr.Dataset", metric: str) -> "xr.DataArray":
    """A metric of all planned trials, [A, L, T, S]; not read from disk yet where results are opened lazily."""
    check_results(results, metric)
    return results[metric].transpose(*AXES)


def metric_values(results: "xr.Dataset", metric: str) -> np.ndarray:
    """A metric of the finished trials, [A, L, T, S]."""
    return metric_variable(done_trials(results), metric).values


def grain(results: "xr.Dataset", metric: str) -> float:
    """The step in which a metric moves from trial to trial; 0 where that is not known.

    An accuracy is a share of the M test images: 1 / M, or 1 / (M E) where a trial's is its mean over E evaluations.
    """
    images = int(results.attrs.get("test_images", results.sizes.get("image", 0)))
    if metric != "accuracy" or not images:
        return 0.0
    return 1 / (images * int(results.attrs.get("evaluations", 1)))


def curves(
    results: "xr.Dataset", arm: str, *, learning_rate: float | None = None, metric: str = "accuracy"
) -> np.ndarray:
    """A metric of one arm's finished trials over the evaluated steps, float64 [T, S]."""
    ran = done_trials(results)
    place = {"arm": arm_index(ran, arm), "learning_rate": rate_index(ran, learning_rate)}
    return metric_variable(ran, metric).isel(place).values.astype(np.float64)


def test_arm_names(results: "xr.Dataset") -> list[str]:
    """The preprocessings under which every network was tested as well; none by default."""
    return [str(name) for name in coordinate(results, "test_arm")] if "test_arm" in results.dims else []


def transfer_values(results: "xr.Dataset", metric: str = "accuracy") -> np.ndarray:
    """The finished trials' accuracy or loss on the test images under each of those, float64 [A, L, T, test arms].

    `metric` is "accuracy" or "loss".
    """
    values = done_trials(results)[f"transfer_{metric}"].transpose(*AXES[:3], "test_arm").values
    return values.astype(np.float64)


def correct_table(results: "xr.Dataset", arm: str, learning_rate: float | None = None) -> "xr.DataArray":
    """Which test images the finished trials of an arm have right in the end, bool [T, M]; read when it is sliced.

    Raises:
        InputError: the run did not keep it; and names that are not in the results.
    """
    ran = done_trials(results)
    if "correct" not in ran:
        raise InputError('results: no "correct"; give those of a run with keep="correct" (--keep correct)')
    place = {"arm": arm_index(ran, arm), "learning_rate": rate_index(ran, learning_rate)}
    return ran["correct"].transpose(*AXES[:3], "image").isel(place)


def metric_label(metric: str) -> str:
    """A metric as it reads on an axis.

    >>> metric_label("test_loss"), metric_label("margin")
    ('test loss', 'margin')
    """
    return LABELS.get(metric, metric)


# --- weights ---------------------------------------------------------------------------------------------------------


def weight_deltas(results: "xr.Dataset", learning_rate: Any = None) -> dict[str, np.ndarray]:
    """Each arm's weight change, arm -> [H, W, K]: the mean over trials of max over outputs of |W_end - W_begin|.

    `learning_rate` is one for all arms, or a mapping arm -> learning rate.

    Raises:
        InputError: the first layer does not read pixels, so that there is none.
    """
    if "weight_delta" not in results:
        raise InputError("results: no 'weight_delta'; give results of a model whose first layer reads pixels")
    values = results["weight_delta"].transpose("arm", "learning_rate", *PIXELS).values
    rates = rate_by_arm(results, learning_rate)
    return {arm: values[k, rate_index(results, rate)] for k, (arm, rate) in enumerate(rates.items())}
