"""Run every cell: a pilot that chooses learning rates, then the trials that are judged."""

import os
import time
from collections.abc import Sequence
from typing import Any

from jaxinv import store
from jaxinv.engine import runner
from jaxinv.errors import InputError, whole
from jaxinv.experiments.recommendation.cells import LIGHTS, MODELS, Cell, Protocol
from jaxinv.experiments.recommendation.judging import headline, judge_cell
from jaxinv.results.cells import best_rates
from jaxinv.utils.files import local_path, make_folder, write_json
from jaxinv.utils.progress import Report
from jaxinv.utils.text import dataset_label

SUMMARY = "recommendation.json"


def recommend(
    out: str | os.PathLike[str],
    protocol: Protocol,
    *,
    models: Sequence[str] = MODELS,
    images: Sequence[int | None] = (None,),
    lights: Sequence[str] = tuple(LIGHTS),
    dataset: str = "",
    quick: bool = False,
    chunk: int | None = None,
    devices: int | None = None,
    progress: Report | bool | None = None,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Train every arm in every cell into `out`, and say which to use.

    Args:
        out: a new or empty folder, or that of an earlier call, whose trials are kept.
        protocol: what is the same in every cell.
        models, images, lights: every combination of them is a cell; None among `images` stands for all.
        dataset, quick: noted in the summary: where the data are from, and that the protocol is a shortened one.
        chunk, devices, progress, data_dir: as for `jaxinv.run`.

    Returns:
        The recommendations, as plain values for JSON.

    Raises:
        InputError: a folder, a light or a study that makes no sense.
    """
    started = time.monotonic()
    for light in lights:
        if light not in LIGHTS:
            raise InputError(f"light: {light!r} is not allowed; give some of {', '.join(LIGHTS)}")
    if len(protocol.arms) < 2:
        raise InputError(f"arms: {', '.join(protocol.arms) or 'none'} is not allowed; give two or more to compare")
    whole("trials", protocol.trials, 4, hint=": the even ones choose, the odd ones judge")
    root = local_path("out", out)
    data = protocol.data
    cells = [Cell(model=model, light=light, images=count) for model in models for light in lights for count in images]
    wanted = {root / f"{cell.name}-rates": protocol.pilot_study(cell) for cell in cells}
    for folder, study in wanted.items():
        store.check_can_hold(folder, study)
    if root.is_dir() and any(root.iterdir()) and not any(folder.is_dir() for folder in wanted):
        raise InputError(f"out: {root} holds something else; give a new or empty folder, or that of an earlier call")
    make_folder(root)
    options: dict[str, Any] = {"chunk": chunk, "devices": devices, "progress": progress, "data_dir": data_dir}
    found = []
    for cell, (folder, pilot) in zip(cells, wanted.items(), strict=True):
        rates = best_rates(runner.run(pilot, out=folder, **options))
        results = runner.run(protocol.study(cell, rates), out=root / cell.name, **options)
        found.append(judge_cell(cell, results, rates, len(data.x_train)))
    summary = {
        "recommendations": found,
        "headline": headline(found),
        **{"dataset": dataset, "label": dataset_label(data.name), "seed": protocol.seed},
        **{"steps": protocol.steps, "batch_size": protocol.batch_size, "arms": list(protocol.arms), "quick": quick},
        **{"pilot": protocol.pilot, "trials": protocol.trials, "out": str(root)},
        "seconds": {"total": round(time.monotonic() - started, 3)},
    }
    write_json(root / SUMMARY, summary)
    return summary
