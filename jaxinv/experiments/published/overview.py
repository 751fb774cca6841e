"""The table of all replications: what was published, what came out here, and the verdict."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxinv import store
from jaxinv.errors import DataError
from jaxinv.experiments.published.experiment import Experiment, Plan, Runs, Size
from jaxinv.experiments.published.judging import judge
from jaxinv.experiments.published.page import BADGES, ends, told
from jaxinv.experiments.published.running import SUMMARY, get_experiment
from jaxinv.utils.text import number


def rows(folders: Mapping[str, Path]) -> list[dict[str, Any]]:
    """What is known of each experiment, by name, from the folder that it was run into."""
    return [
        {"experiment": name, "source": get_experiment(name).source} | found(name, folders[name]) for name in folders
    ]


def found(name: str, folder: Path) -> dict[str, Any]:
    """What a folder says of an experiment; {} where it was not run."""
    path = folder / SUMMARY
    if not path.is_file():
        return {}
    try:
        summary = json.loads(path.read_bytes())
    except ValueError:
        raise DataError(f"{path}: cannot be read as JSON; run the experiment again") from None
    if "figures" not in summary:  # of inversion, whose summary is older than the others
        summary |= judge_stored(get_experiment(name), folder)
    return {name: summary[name] for name in ("verdict", "figures", "statements")} | {"size": summary.get("size")}


def judge_stored(experiment: Experiment, folder: Path) -> dict[str, Any]:
    """The verdict from the stored results of an experiment."""
    plans: Mapping[str, Plan] = experiment.studies(Size())
    return judge(experiment, Runs(plans, {name: store.load(folder / name) for name in plans}))


def markdown(found: Sequence[Mapping[str, Any]]) -> str:
    """The table as Markdown: a row for each published figure and statement."""
    lines = ["| experiment | published | here | verdict |", "|---|---|---|---|"]
    for row in found:
        address, _, who = row["source"].partition(", ")
        name = f"`{row['experiment']}`, [{who.split(',')[0]}]({address})"
        if "verdict" not in row:
            lines.append(f"| {name} | | not run | |")
            continue
        for one in row["figures"]:
            here = f"{number(one['mean'])} (z {number(one['z'], '+.2f')}), n = {one['n']:,}"
            lines.append(f"| {name} | {one['what']} {one['published']:g} | {here} | {BADGES[one['verdict']].text} |")
            name = ""
        for one in row["statements"]:
            says = one["says"] if one["decides"] else f"*our question:* {one['says']}"
            here = f"{told(one)} {ends(one)}, n = {one['n']:,}"
            lines.append(f"| {name} | {says} | {here} | {BADGES[one['verdict']].text} |")
            name = ""
    return "\n".join(lines)
