"""The published experiment, in both readings of its text, with statistics.

A published answer trains MNIST softmax regression on normal and on inverted grey values, "100 trials in each of which
we perform 50 updates", and reports mean accuracies. Its script initialises the network once per preprocessing and never
again, so what it ran is not 100 trials of 50 updates but one chain of 5,000 updates, looked at 100 times.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from jaxinv import stats, store
from jaxinv.data import load_dataset
from jaxinv.engine import runner
from jaxinv.errors import InputError, whole
from jaxinv.study import Study
from jaxinv.training import weight_change as weight_changes
from jaxinv.utils.files import write_json
from jaxinv.utils.jsonable import jsonable
from jaxinv.utils.progress import Report
from jaxinv.utils.tables import text_table
from jaxinv.utils.text import interval, number, p_value, plain

PUBLISHED = {"normal": 0.91879, "inverted": 0.837478}
ARMS = tuple(PUBLISHED)
UPDATES, LOOKS = 50, 100

DIFFERENCE = (
    "The two readings differ because the published script initialises the network once per preprocessing, outside its "
    "loop over trials: what it calls trial 100 has had 5,000 updates, not 50. Fresh trials of 50 updates, as its text "
    "says, score lower, and far lower with inverted pixels."
)


def studies(*, chains: int = 8, trials: int = 100, seed: int = 0) -> dict[str, Study]:
    """The two readings: chains never re-initialised, looked at every 50 updates; and fresh trials of 50 updates."""
    for name, count in (("chains", chains), ("trials", trials)):
        whole(name, count)
    published = Study(arms=ARMS, model="softmax", optimizer="sgd", learning_rate=0.5, batch_size=100, seed=seed)
    return {
        "as_written": published.replace(steps=UPDATES * LOOKS, eval_every=UPDATES, trials=chains),
        "independent": published.replace(steps=UPDATES, trials=trials),
    }


def replicate(
    out: str | os.PathLike[str] = "runs/replicate",
    *,
    chains: int = 8,
    trials: int = 100,
    seed: int = 0,
    chunk: int | None = None,
    devices: int | None = None,
    progress: Report | bool | None = None,
) -> dict[str, Any]:
    """Run both readings into `out` (each a stored run that can be resumed), and write `summary.json` and figures there.

    Args:
        out: a new or empty folder, or that of an earlier call.
        chains: how many chains of 5,000 updates, as the published script runs them.
        trials: how many fresh trials of 50 updates, as its text says.
        seed: root of all randomness.
        chunk, devices, progress: as for `jaxinv.run`.

    Returns:
        The summary: what `jaxinv replicate --json` prints.

    Raises:
        InputError: an option or a folder that makes no sense; nothing was touched.
        DataError: the disk or the memory failed; what was finished is safe.
    """
    started = time.monotonic()
    folder = Path(out)
    wanted = studies(chains=chains, trials=trials, seed=seed)
    check_folder(folder, wanted)
    results = {
        name: runner.run(study, out=folder / name, chunk=chunk, devices=devices, progress=progress)
        for name, study in wanted.items()
    }
    seconds = [json.loads(result.attrs["seconds"]) for result in results.values()]
    border = weight_changes.border_mask(load_dataset("mnist").x_train)
    summary = {
        "published": PUBLISHED,
        "as_written": as_written(results["as_written"]),
        "independent": independent(results["independent"]),
        "weight_delta": weight_change(results["independent"], border),
        "seconds": {
            "compile": round(sum(part["compile"] for part in seconds), 3),
            "train": round(sum(part["train"] for part in seconds), 3),
        },
        "out": str(folder),
    }
    draw(folder, results, border)
    summary["seconds"]["total"] = round(time.monotonic() - started, 3)
    write_json(folder / "summary.json", summary)
    return summary


def check_folder(folder: Path, wanted: dict[str, Study]) -> None:
    """Refuse a folder that holds something else before anything is written."""
    for name, study in wanted.items():
        store.check_can_hold(folder / name, study)
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / name).is_dir() for name in wanted):
        raise InputError(
            f"out: {folder} holds something else; give a new or empty folder, or that of an earlier replicate"
        )


def as_written(results: xr.Dataset) -> dict[str, Any]:
    """Each arm's mean over a chain's looks, over chains, and where the published figure falls among the chains."""
    means = results.accuracy.isel(learning_rate=0).astype(np.float64).mean("step")
    figures: dict[str, Any] = {"chains": results.sizes["trial"]}
    for arm in ARMS:
        values = means.sel(arm=arm).values
        figures[arm] = arm_figures(values) | {"z": jsonable(stats.published_z(PUBLISHED[arm], values))}
    return figures


def independent(results: xr.Dataset) -> dict[str, Any]:
    """Each arm over trials, and the paired difference, normal minus inverted."""
    pair = stats.compare(results, *ARMS)
    figures: dict[str, Any] = {"trials": results.sizes["trial"]}
    for arm in ARMS:
        figures[arm] = arm_figures(results.accuracy.sel(arm=arm).isel(learning_rate=0, step=-1).values)
    figures["difference"] = jsonable(
        {"mean": pair.difference, "ci95": pair.ci95, "p_value": pair.p_value, "effect_size": pair.effect_size}
    )
    return figures


def arm_figures(values: np.ndarray) -> dict[str, Any]:
    """Mean, standard deviation and 95 % interval of the mean."""
    summary = stats.summary(values.astype(np.float64))
    return jsonable({"mean": summary.mean, "sd": summary.sd, "ci95": summary.ci95})


def weight_change(results: xr.Dataset, border: np.ndarray) -> dict[str, Any]:
    """Border against centre in each arm's heatmap."""
    heatmaps = results.weight_delta.isel(learning_rate=0)
    return {arm: jsonable(weight_changes.summarise(heatmaps.sel(arm=arm).values, border)) for arm in ARMS}


def draw(folder: Path, results: dict[str, xr.Dataset], border: np.ndarray) -> None:
    """The three figures of the experiment."""
    from jaxinv import plots

    heatmaps = results["independent"].weight_delta.isel(learning_rate=0, channel=0)
    plots.save(
        plots.weight_changes({arm: heatmaps.sel(arm=arm).values for arm in ARMS}, border), folder / "weight_change.png"
    )
    plots.save(plots.curve_over_steps(results["as_written"], published=PUBLISHED), folder / "chain.png")
    plots.save(plots.trial_distributions(results["independent"]), folder / "trials.png")


def table(summary: dict[str, Any]) -> str:
    """The summary as text of at most 80 columns."""
    written, fresh, gap = summary["as_written"], summary["independent"], summary["independent"]["difference"]
    chains = [["arm", "mean", "sd", "95% interval", "published", "z"]]
    trials = [["arm", "mean", "sd", "95% interval"]]
    moved = [["arm", "border max", "border mean", "centre mean"]]
    for arm in ARMS:
        for rows, figures in ((chains, written[arm]), (trials, fresh[arm])):
            rows.append(
                [arm, number(figures["mean"], ".5f"), number(figures["sd"], ".5f"), interval(figures["ci95"], ".5f")]
            )
        chains[-1] += [str(PUBLISHED[arm]), number(written[arm]["z"], "+.2f")]
        change = summary["weight_delta"][arm]
        moved.append([arm, *(number(change[name], ".5f") for name in ("border_max", "border_mean", "centre_mean"))])
    trials.append(["difference", number(gap["mean"], ".5f"), "", interval(gap["ci95"], ".5f")])
    return plain(f"""MNIST softmax regression, SGD 0.5, batches of 100: normal against inverted pixels

As written: {written["chains"]} chains of {UPDATES * LOOKS:,} updates, each the mean of {LOOKS} looks
{text_table(chains)}

Independent: {fresh["trials"]} fresh trials of {UPDATES} updates
{text_table(trials)}
paired t-test: p {p_value(gap["p_value"])}; effect size d_z {number(gap["effect_size"], ".2f")}

Weight change: max over classes of |W_begin - W_end|, mean over the fresh trials
{text_table(moved)}
border: pixels that no training image turns on; centre: the inner 14 x 14""")
