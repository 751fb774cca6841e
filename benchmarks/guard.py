"""Has anything become slower? Keeps each benchmark's medians, and compares ratios to peers with what they were.

    python benchmarks/guard.py                       measure, compare with this machine's past
    python benchmarks/guard.py --record              and add the result to the history
    python benchmarks/guard.py --read result.json    the same for what a benchmark has printed with --json

Times mean nothing on a busy or another machine, and are never judged. A ratio to a peer, measured in the same process
at the same time, is: it fails if it falls below `LEAST` times its median over the last `LAST` records of the same job
on the same kind of machine. With no such record there is nothing to fail. Exit status 1: something became slower.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

if not __package__:  # run as a file: modules are looked up from the checkout, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import tyro

HISTORY = Path(__file__).parent / "history" / "medians.jsonl"
LEAST = 0.75
LAST = 5
PARTS = {"headline": ["warm"], "convnet": ["mlp", "cnn"]}

Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to compare with what."""

    benchmarks: tuple[Literal["headline", "convnet"], ...] = ("headline", "convnet")
    """Which to run."""
    repeats: int = 5
    """Samples of each contender."""
    read: tuple[str, ...] = ()
    """Files of JSON that benchmarks have printed, instead of running them."""
    record: bool = False
    """Add the result to the history."""
    history: Path = HISTORY
    """The history: one JSON object a line."""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    outputs = [json.loads(Path(path).read_text()) for path in options.read]
    if not options.read:
        outputs = [run_benchmark(name, options.repeats) for name in options.benchmarks]
    records = [record for output in outputs for record in records_of(output)]
    past = load(options.history)
    complaints = [complaint for record in records for complaint in compare(record, past)]
    for record in records:
        count = len(alike(record, past))
        print(f"{record['part']}: {len(record['ratios'])} ratios against {count} records of this job and machine")
    if options.record:
        append(options.history, records)
    for complaint in complaints:
        print(f"slower: {complaint}")
    sys.exit(1 if complaints else 0)


def run_benchmark(name: str, repeats: int) -> dict[str, Any]:
    """A benchmark's JSON, from a process of its own."""
    script = Path(__file__).parent / f"{name}.py"
    command = [sys.executable, str(script), "--json", "--repeats", str(repeats), "--parts", *PARTS[name]]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def records_of(output: dict[str, Any]) -> list[Record]:
    """One record for each part of a benchmark's output that holds jaxinv against peers."""
    records = []
    for name, part in output["parts"].items():
        if "job" not in part:
            continue
        medians = {one["name"]: one["median_s"] for one in part["contenders"] if not one["skipped"]}
        ours = medians["jaxinv"]
        records.append(
            {
                "when": output["when"],
                "benchmark": output["benchmark"],
                "part": name,
                "job": part["job"],
                "machine": output["machine"],
                "versions": output["versions"],
                "best_gflops": part["products"]["best_gflops"],
                "medians_s": medians,
                "ratios": {peer: seconds / ours for peer, seconds in medians.items() if peer != "jaxinv"},
            }
        )
    return records


def compare(record: Record, past: list[Record]) -> list[str]:
    """A line for each ratio that has fallen too far."""
    before = alike(record, past)[-LAST:]
    complaints = []
    for peer, ratio in record["ratios"].items():
        known = [old["ratios"][peer] for old in before if peer in old["ratios"]]
        least = LEAST * float(np.median(known)) if known else 0.0
        if not ratio >= least:
            complaints.append(
                f"{record['part']}: {peer} takes {ratio:.2f} times as long as jaxinv, and took {np.median(known):.2f} "
                f"times as long before; allowed: {least:.2f} or more"
            )
    return complaints


def alike(record: Record, past: list[Record]) -> list[Record]:
    """Records of the same job on the same kind of machine, oldest first."""
    return [old for old in past if _kind(old) == _kind(record)]


def _kind(record: Record) -> Any:
    machine = record["machine"]
    return record["part"], record["job"], machine["processor"], machine["cores"], machine["jax_devices"]


def load(path: Path) -> list[Record]:
    """The history, oldest first; empty where there is none yet."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def append(path: Path, records: list[Record]) -> None:
    """Add records to the history."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(record, sort_keys=True) + "\n" for record in records)


if __name__ == "__main__":
    main()
