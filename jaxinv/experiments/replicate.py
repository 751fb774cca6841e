"""Replicate the published inversion experiment, in both readings of its text, with statistics."""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from jaxinv import stats
from jaxinv.data import load_dataset
from jaxinv.engine import runner
from jaxinv.experiments.inversion import ARMS, EVALUATIONS, FRESH, PUBLISHED, UPDATES, WRITTEN, studies
from jaxinv.experiments.published.running import check_folder
from jaxinv.results.cells import Cell, cell, mean_over_steps
from jaxinv.stats.few_trials import FEWEST, too_few
from jaxinv.training import weight_change
from jaxinv.utils.files import local_path, write_json
from jaxinv.utils.jsonable import jsonable
from jaxinv.utils.progress import Report, in_parts
from jaxinv.utils.tables import text_table
from jaxinv.utils.text import interval, number, p_value, plain


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
    folder = local_path("out", out)
    wanted = studies(chains=chains, trials=trials, seed=seed)
    check_folder(folder, wanted)
    results = {
        name: runner.run(study, out=folder / name, chunk=chunk, devices=devices, progress=progress)
        for name, study in in_parts("study", wanted.items())
    }
    seconds = [json.loads(result.attrs["seconds"]) for result in results.values()]
    border = weight_change.border_mask(load_dataset("mnist").x_train)
    summary = {
        "published": PUBLISHED,
        WRITTEN: summarise_chains(results[WRITTEN]),
        FRESH: summarise_trials(results[FRESH]),
        "weight_delta": summarise_weight_change(results[FRESH], border),
        "seconds": {name: round(sum(part[name] for part in seconds), 3) for name in ("compile", "train")},
        "out": str(folder),
    }
    draw(folder, results, border)
    summary["seconds"]["total"] = round(time.monotonic() - started, 3)
    write_json(folder / "summary.json", summary)
    return summary


def summarise_chains(results: xr.Dataset) -> dict[str, Any]:
    """Each arm's mean over a chain's evaluations, over chains; where the published figure falls among the chains."""
    means = mean_over_steps(results)
    figures: dict[str, Any] = {"chains": results.sizes["trial"]}
    for arm in ARMS:
        chains = cell(means, arm)
        z = stats.published_z(PUBLISHED[arm], chains.accuracy) if chains.trials.size >= FEWEST else None
        figures[arm] = summarise_arm(chains) | {"z": jsonable(z)}
    return figures


def summarise_trials(results: xr.Dataset) -> dict[str, Any]:
    """Each arm over trials, and the paired difference, normal minus inverted."""
    pair = stats.compare(results, *ARMS)
    figures: dict[str, Any] = {"trials": results.sizes["trial"]}
    figures |= {arm: summarise_arm(cell(results, arm)) for arm in ARMS}
    names = ("ci95", "ci95_anytime", "p_value", "p_anytime", "effect_size", "enough")
    figures["difference"] = jsonable({"mean": pair.difference} | {name: getattr(pair, name) for name in names})
    return figures


def summarise_arm(found: Cell) -> dict[str, Any]:
    """Mean, standard deviation and 95 % interval of the mean accuracy."""
    summary = stats.cell_summary(found).accuracy
    return jsonable({"mean": summary.mean, "sd": summary.sd, "ci95": summary.ci95})


def summarise_weight_change(results: xr.Dataset, border: np.ndarray) -> dict[str, Any]:
    """Border against centre in each arm's heatmap."""
    heatmaps = results.weight_delta.isel(learning_rate=0)
    return {arm: jsonable(weight_change.summarise(heatmaps.sel(arm=arm).values, border)) for arm in ARMS}


def draw(folder: Path, results: dict[str, xr.Dataset], border: np.ndarray) -> None:
    """The three figures of the experiment."""
    from jaxinv import plots

    plots.save(plots.weight_changes(results[FRESH], border), folder / "weight_change.png")
    plots.save(plots.curve_over_steps(results[WRITTEN], published=PUBLISHED), folder / "chain.png")
    plots.save(plots.trial_distributions(results[FRESH]), folder / "trials.png")


def table(summary: dict[str, Any]) -> str:
    """The summary as text of at most 80 columns."""
    written, fresh, gap = summary[WRITTEN], summary[FRESH], summary[FRESH]["difference"]
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
    test = f"paired t-test: p {p_value(gap['p_value'])}; effect size d_z {number(gap['effect_size'], '.2f')}"
    test = test if gap["enough"] else too_few(fresh["trials"])
    return plain(f"""MNIST softmax regression, SGD 0.5, batches of 100: normal against inverted pixels

As written: {written["chains"]} chains of {UPDATES * EVALUATIONS:,} updates, each the mean of {EVALUATIONS} evaluations
{text_table(chains)}

Independent: {fresh["trials"]} fresh trials of {UPDATES} updates
{text_table(trials)}
{test}

Weight change: max over classes of |W_begin - W_end|, mean over the fresh trials
{text_table(moved)}
border: pixels that no training image turns on; centre: the inner 14 x 14""")
