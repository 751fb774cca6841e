"""All measurements on the device that JAX finds, into one folder, within a time that is given."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax

from benchmarks import machine, ours, report
from benchmarks.device.correct import Check, checks
from benchmarks.device.one_study import RATES, study_of
from benchmarks.device.times import Clock, Time, times, trials_a_second
from benchmarks.harness import say

SECONDS = 8.5 * 60


def measure(out: Path, *, seconds: float = SECONDS, tiny: bool = False) -> bool:
    """Correctness, times, profiles; whether all is correct. What is found is written as soon as it is.

    The folder holds `tables.md`, `results.json` and `profile/`, a folder for each program, for TensorBoard or Perfetto.
    """
    clock = Clock(seconds)
    ours.configure()
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {**machine.describe(), "checks": [], "times": []}
    say(f"measuring on {results['machine']['jax_devices']}")
    checked, timed = list[Check](), list[Time]()
    for check in checks(tiny=tiny):
        checked.append(check)
        say(f"{'holds' if check.holds else 'FAILS'}: {check.what} ({check.found:.2g}, allowed {check.allowed:.2g})")
        _write(out, results, checked, timed)
    for found in times(clock, tiny=tiny, repeats=2 if tiny else 5):
        timed.append(found)
        say(f"{found.what} x {found.trials:,}: {found.who}: {found.skipped or report.seconds(found.best)}")
        _write(out, results, checked, timed)
    for model in RATES:
        run = ours.prepare(study_of(model, 4 if tiny else 100, tiny=tiny))
        run()
        with jax.profiler.trace(str(out / "profile" / model)):
            run()
    say(f"written to {out}; {clock.left:.0f} of {seconds:.0f} s left")
    return all(check.holds for check in checked)


def _write(out: Path, results: dict[str, Any], checked: list[Check], timed: list[Time]) -> None:
    facts = {**results, "checks": [asdict(check) for check in checked], "times": [asdict(time) for time in timed]}
    (out / "results.json").write_text(json.dumps(facts, indent=1) + "\n")
    (out / "tables.md").write_text(tables(results, checked, timed))


def tables(results: dict[str, Any], checked: list[Check], timed: list[Time]) -> str:
    """Everything as Markdown."""
    devices, versions = results["machine"]["jax_devices"], results["versions"]
    known = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    lines = [f"# {devices[0]} x {len(devices)}", "", f"{results['when']}; {known}.", "", "## Correct", ""]
    lines += ["| what | difference | allowed | |", "|---|---|---|---|"]
    for check in checked:
        lines.append(f"| {check.what} | {check.found:.2g} | {check.allowed:.2g} | {'' if check.holds else 'FAILS'} |")
    for model in dict.fromkeys(found.what for found in timed):
        lines += ["", f"## {model}: 2 arms, 50 updates of 100", ""]
        lines += ["| who | trials | first run | fastest | trials/s | times jaxinv |", "|---|---|---|---|---|---|"]
        here = [found for found in timed if found.what == model]
        us = here[0].best / here[0].trials
        for found in here:
            size = f"| {found.who} | {found.trials:,} |"
            if found.skipped:
                lines.append(f"{size} {found.skipped} | | | |")
                continue
            each = f"{trials_a_second(found):,.0f} | {found.best / found.trials / us:.2f}"
            lines.append(f"{size} {report.seconds(found.first)} | {report.seconds(found.best)} | {each} |")
    return "\n".join(lines) + "\n"
