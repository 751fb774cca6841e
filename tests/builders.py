"""Made-up results, for tests of whatever reads results: here alone stands what a test expects results to hold."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from jaxinv.results.assemble import arm_coords
from jaxinv.results.schema import OVERALL, PER_TRIAL, ResultBlock, Schema
from jaxinv.results.selection import AXES
from jaxinv.store import Store
from jaxinv.study import Study

ARMS = ("normal", "inverted")
HOSTILE_ARMS = ("$\\frac{1}$", "_private", "<script>alert(1)</script>", "nul\x00\nand 中\u202e", "x" * 200)
KNOWN = PER_TRIAL | OVERALL


def results_of(
    accuracy: np.ndarray,
    *,
    arms: Sequence[str] = ARMS,
    learning_rates: Sequence[float] = (0.5,),
    steps: Sequence[int] = (50,),
    first_trial: int = 0,
    **more: np.ndarray,
) -> xr.Dataset:
    """Results with these accuracies [A, L, T, E], of trials none of which diverged.

    `more` are other variables, or other values of those: metrics of a user's own have the dims of accuracy.
    """
    values = {"accuracy": accuracy, "test_loss": 1 - accuracy, "diverged": np.zeros(accuracy.shape[:3], bool), **more}
    dims = {name: KNOWN[name].dims if name in KNOWN else AXES for name in values}
    dtypes = {name: KNOWN[name].dtype if name in KNOWN else "float32" for name in values}
    trials = np.arange(accuracy.shape[2]) + first_trial
    return xr.Dataset(
        {name: (dims[name], value.astype(dtypes[name])) for name, value in values.items()},
        {"arm": list(arms), "learning_rate": list(learning_rates), "trial": trials, "step": list(steps)},
    )


def lifelike_results(
    arms: Sequence[str] = ARMS,
    rates: Sequence[float] = (0.5,),
    trials: int = 30,
    steps: Sequence[int] = (50,),
    side: int = 8,
    seed: int = 0,
) -> xr.Dataset:
    """Results that resemble those of MNIST: a good and narrow first arm, poor and wide ones after it."""
    rng = np.random.default_rng(seed)
    first = np.arange(len(arms)).reshape(-1, 1, 1, 1) == 0
    drawn = rng.standard_normal((len(arms), len(rates), trials, len(steps)))
    accuracy = np.where(first, 0.875, 0.33) + np.where(first, 0.006, 0.09) * drawn + 0.01 * np.arange(len(steps))
    delta = rng.random((len(arms), len(rates), side, side, 1)) * np.arange(1, len(arms) + 1).reshape(-1, 1, 1, 1, 1)
    accuracy = np.clip(accuracy, 0, 1)
    return results_of(accuracy, arms=arms, learning_rates=rates, steps=steps, weight_delta=delta)


def paired_results(
    trials: int = 20,
    *,
    arms: Sequence[str] = ARMS,
    rates: Sequence[float] = (0.5,),
    steps: Sequence[int] = (50,),
    seed: int = 0,
) -> xr.Dataset:
    """Correlated arms, each worse by 0.05 than the one before it; accuracies are shares of 10,000 images."""
    rng = np.random.default_rng(seed)
    shape = (len(arms), len(rates), trials, len(steps))
    shared = rng.normal(0.85, 0.01, size=(1, *shape[1:]))
    accuracy = shared + rng.normal(0, 0.01, size=shape) - 0.05 * np.arange(len(arms)).reshape(-1, 1, 1, 1)
    more = {"test_loss": rng.exponential(size=shape), "layer_delta": np.zeros((*shape[:3], 2))}
    accuracy = np.round(accuracy * 10_000) / 10_000
    return results_of(accuracy, arms=arms, learning_rates=rates, steps=steps, **more)


def results_with_means(
    means: Mapping[str, Any],
    *,
    learning_rates: Sequence[float] = (0.5,),
    trials: int = 40,
    steps: int = 1,
    sd: float = 0.002,
) -> xr.Dataset:
    """Results whose mean accuracy is given for each arm: a number, or an array [L] or [L, steps].

    What an arm is given, its even trials have on average, and so do its odd ones.
    """
    shape = (len(learning_rates), trials, steps)
    rng = np.random.default_rng(1)
    shared = _noise(rng, sd, (1, trials, 1))
    accuracy = []
    for mean in means.values():
        grid = np.asarray(mean, float).reshape((len(learning_rates), 1, -1) if np.ndim(mean) else (1, 1, 1))
        accuracy.append(np.broadcast_to(grid, shape) + shared + _noise(rng, sd, shape))
    counts = np.arange(1, steps + 1) * 100
    return results_of(np.stack(accuracy), arms=list(means), learning_rates=learning_rates, steps=counts.tolist())


def _noise(rng: np.random.Generator, sd: float, shape: tuple[int, ...]) -> np.ndarray:
    drawn = rng.normal(0, sd, shape)
    for half in (slice(0, None, 2), slice(1, None, 2)):
        drawn[:, half] -= drawn[:, half].mean(axis=1, keepdims=True) if drawn[:, half].size else 0.0
    return drawn


def study_results(study: Study, *, seed: int = 0, fingerprint: str = "f" * 64, **values: Any) -> xr.Dataset:
    """Lifelike results of a study, with the attributes of real ones; `values` overwrite variables."""
    results = lifelike_results(study.arm_names, study.learning_rates, study.trials, study.eval_steps, seed=seed)
    results = results.assign_coords(arm_coords(study.to_dict(), study.learning_rates))
    for name, value in values.items():
        results[name].values[:] = value
    return results.assign_attrs(
        study=study.to_json(),
        study_hash=study.hash,
        data_fingerprint=fingerprint,
        versions=json.dumps({"jaxinv": "0.1.0", "jax": "0.10.2"}),
        device="1 x test (cpu)",
    )


def store_results(folder: Path, study: Study, results: xr.Dataset, trials: int | None = None) -> None:
    """Write a study's results, or the first of them, as a stored run."""
    height, width, channels = results.weight_delta.shape[2:]
    shape = (height, width, channels)
    schema = Schema(study.arm_names, study.learning_rates, study.eval_steps, (), shape, True, study.trials)
    fixed = ("study", "study_hash", "data_fingerprint")
    attrs = {name: value for name, value in results.attrs.items() if name not in fixed}
    count = study.trials if trials is None else trials
    weights = np.broadcast_to(results.weight_delta.values[:, :, None], (*results.diverged.shape, *shape))
    values = {name: results[name].values[:, :, :count] for name in ("accuracy", "test_loss", "diverged")}
    values["layer_delta"] = np.zeros((*results.diverged.shape[:2], count, 0), np.float32)
    fingerprint = results.attrs["data_fingerprint"]
    with Store.open(folder, study, schema, fingerprint=fingerprint, attrs=attrs, block=study.trials) as opened:
        opened.write(0, ResultBlock(values, weights[:, :, :count]))
        if count == study.trials:
            opened.finish()
