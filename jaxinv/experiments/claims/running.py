"""Judging claims: which there are, in what order, and what is written about them."""

import json
import os
import textwrap
import time
from collections.abc import Sequence
from typing import Any

from jaxinv.data import Dataset
from jaxinv.errors import InputError, unknown
from jaxinv.experiments.claims import inversion, light, rates, remedies, timing
from jaxinv.experiments.claims.claim import Claim
from jaxinv.experiments.claims.study_cache import StudyCache
from jaxinv.utils.files import make_folder, write_json
from jaxinv.utils.progress import Report, in_parts
from jaxinv.utils.tables import WIDTH, text_table
from jaxinv.utils.text import dataset_label

CLAIMS: dict[str, Claim] = {
    claim.name: claim for claim in (*inversion.CLAIMS, *remedies.CLAIMS, *rates.CLAIMS, *light.CLAIMS, *timing.CLAIMS)
}
"""Every claim, by name."""

FIGURE = "learning_rate.png"


def run_claims(
    names: Sequence[str] = (),
    *,
    quick: bool = False,
    out: str | os.PathLike[str] | None = None,
    dataset: str | os.PathLike[str] | Dataset = "mnist",
    progress: Report | bool | None = None,
    seed: int = 0,
    chunk: int | None = None,
    devices: int | None = None,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Judge claims by running the studies that test them.

    Args:
        names: which; none: all, in the order of `CLAIMS`.
        quick: with fewer trials, and so with more verdicts left open.
        out: a folder for `claims.json`, the figure of accuracy against learning rate, and the studies, each in a folder
            of its own, where it is resumed, or grown from quick to full, by the next call.
        dataset, seed: of every study.
        progress, chunk, devices, data_dir: as for `jaxinv.run`.

    Returns:
        {"claims": [...], "seconds": ...} and what else identifies the run, as plain values. Each claim has name,
        source, statement, rule, verdict, effect, ci95, n, unit, explanation; `diverged`: how many diverged trainings
        are among those that its figures include; and `criteria`: what had to hold, and the figure that decided it.

    Raises:
        InputError: a claim or dataset that is not known, or a folder that holds something else.
    """
    started = time.monotonic()
    for name in names:
        if name not in CLAIMS:
            raise unknown("claims", name, CLAIMS)
    chosen = {name: CLAIMS[name] for name in names or CLAIMS}
    cache = StudyCache(
        dataset,
        quick=quick,
        out=out,
        seed=seed,
        chunk=chunk,
        devices=devices,
        progress=progress,
        data_dir=data_dir,
    )
    if cache.out is not None:
        check_claims_folder(cache)
        make_folder(cache.out)
    result = {
        "claims": [
            claim.on(dataset_label(cache.data.name)).to_dict(claim.judge(cache))
            for _, claim in in_parts("claim", chosen.items())
        ],
        "dataset": cache.data.name,
        "quick": quick,
        "seed": seed,
        "out": None if out is None else str(out),
        "seconds": 0.0,
    }
    if cache.out is not None and "rates" in cache.results:
        draw(cache)
    result["seconds"] = round(time.monotonic() - started, 3)
    if cache.out is not None:
        write_json(cache.out / "claims.json", result)
    return result


def check_claims_folder(cache: StudyCache) -> None:
    """Refuse a folder that holds something else, or claims on other data, before anything is written."""
    folder = cache.out
    assert folder is not None
    if folder.exists() and not folder.is_dir():
        raise InputError(f"out: {folder} is not a folder; give a new one")
    studies = sorted(folder.glob("*/study.json"))
    if folder.is_dir() and any(folder.iterdir()) and not studies and not (folder / "claims.json").is_file():
        raise InputError(f"out: {folder} holds something else; give a new or empty folder, or that of earlier claims")
    wanted = cache.study().to_dict()
    for path in studies:
        try:
            there = json.loads(path.read_text())
        except (OSError, ValueError):
            continue  # what is wrong with it is said when its turn comes
        for field in ("dataset", "seed"):
            if isinstance(there, dict) and field in there and there[field] != wanted[field]:
                raise InputError(
                    f"out: {path.parent} holds trials with {field} {there[field]!r}, not {wanted[field]!r}; give a "
                    "new folder"
                )


def draw(cache: StudyCache) -> None:
    """Accuracy against learning rate for every arm, with the bounds of theory."""
    from jaxinv import plots

    assert cache.out is not None
    results = cache.results["rates"]
    bounds = {str(arm): cache.bound(str(arm)) for arm in results.arm.values}
    axes = plots.learning_rate_curve(results, bounds, chance=1 / cache.data.classes)
    plots.save(axes, cache.out / FIGURE)


def table(result: dict[str, Any]) -> str:
    """Claims and verdicts as text of at most 80 columns."""
    head = ["claim", "verdict", "effect", "95% interval", "n"]
    rows = [
        [claim["name"], claim["verdict"], short(claim["effect"]), span(claim["ci95"]), f"{claim['n']:,}"]
        for claim in result["claims"]
    ]
    lines = text_table([head, *rows]).splitlines()
    made = lines[:2]
    for line, claim in zip(lines[2:], result["claims"], strict=True):
        made += [line, *fill(f"Claim: {claim['statement']}"), *fill(claim["explanation"])]
        if claim["diverged"]:
            made += fill(f"({claim['diverged']} of the trainings diverged; they are included.)")
        made.append("")
    trials = "with few trials (--quick)" if result["quick"] else "in full"
    made += textwrap.wrap(
        f"{len(rows)} claims on {result['dataset']}, {trials}: {result['seconds']:.0f} s. Supported: the 95% interval "
        "lies where the claim says. Refuted: it lies elsewhere. Inconclusive: it leaves both open. Premise absent: "
        "what the claim takes for granted is not so in these images. Each claim is judged by itself. Intervals cover "
        "new trials on the same test images, that of the first claim new test images too.",
        WIDTH,
        break_on_hyphens=False,
    )
    return "\n".join(made)


def fill(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def short(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3g}"


def span(pair: Sequence[float | None]) -> str:
    low, high = pair
    return "n/a" if low is None or high is None else f"[{low:.3g}, {high:.3g}]"
