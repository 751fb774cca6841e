"""What compilers for accelerators make of jaxinv's programs; none of these accelerators need be there.

    python benchmarks/accelerators.py                               all programs for an H200, as tables
    python benchmarks/accelerators.py --cards v5e --models softmax  one program for a TPU, which takes minutes
    python benchmarks/accelerators.py --record                      and add the figures to the history
    python benchmarks/accelerators.py --measure folder              on the accelerator that is here: within 9 minutes

Needs the compilers: `pip install '.[aot]'`. Each program is the engine's own, for two affine arms and 50 updates of
100. The tables count what one update and one evaluation of all trials move and compute, and the least time that the
card's bandwidth, arithmetic and launches would take. That is the compiler's word and arithmetic, and no clock's.
Exit status 1: something has grown since the last record of the same program and compiler.

With `--measure`, no compiler for an absent device is asked. JAX takes what it finds: first results are held against
those of the CPU and against what was published; then jaxinv is timed beside its peers, with each of its choices for
the device turned over, and profiled. Exit status 1: results are wrong.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

if not __package__:  # run as a file: modules are looked up from the checkout, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import jax
import tyro

from benchmarks import machine, ours, report
from benchmarks.aot import history, programs, tables
from benchmarks.aot.cards import CARDS, missing
from benchmarks.aot.figures import Figures, figures
from benchmarks.harness import say

Model = Literal["softmax", "mlp", "cnn", "deep_mnist"]
Precision = Literal["exact", "fast"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to compile, and for what."""

    cards: tuple[Literal["h100", "h200", "v5e", "v6e"], ...] = ("h200",)
    """Accelerators."""
    models: tuple[Model, ...] = ("softmax", "mlp", "cnn", "deep_mnist")
    """Models."""
    trials: tuple[int, ...] = (100, 1000, 10_000)
    """Trials on each device in one call."""
    precisions: tuple[Precision, ...] = ("exact", "fast")
    """Products of float32, or as fast as the card takes them."""
    devices: int = 1
    """Devices that share a call: 1, 8, or 256 TPUs."""
    json: bool = False
    """One JSON object on standard output, instead of tables."""
    record: bool = False
    """Add the figures to the history."""
    history: Path = history.HISTORY
    """The history: one JSON object a line."""
    hlo: Path | None = None
    """A folder for the programs' text."""
    measure: Path | None = None
    """Measure on the accelerator that is here, into this folder."""
    seconds: float = 510.0
    """What measuring may take, about."""
    tiny: bool = False
    """Measure with few trials and images: does it all work?"""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.measure is not None:
        from benchmarks.device.measure import measure

        sys.exit(0 if measure(options.measure, seconds=options.seconds, tiny=options.tiny) else 1)
    ours.configure()
    jax.config.update("jax_platforms", "cpu")  # the compilers are asked by name
    past, records, complaints = history.load(options.history), list[Program](), list[str]()
    for record in compiled(options):
        records.append(record)
        complaints += history.compare(record.facts, past)
        if options.record:  # each at once: the next may take long
            history.append([record.facts], options.history)
    if options.json:
        facts = [record.facts for record in records]
        report.print_json({"benchmark": "accelerators", **machine.describe(), "programs": facts})
    else:
        show(records)
    for complaint in complaints:
        say(f"grown: {complaint}")
    sys.exit(1 if complaints else 0)


@dataclass(frozen=True)
class Program:
    """One program's figures, and what it was compiled for."""

    facts: dict[str, Any]
    figures: Figures

    @property
    def name(self) -> str:
        return f"{self.facts['model']}, {self.facts['trials']:,} trials, {self.facts['precision']}"


def compiled(options: Options) -> Iterable[Program]:
    """All that was asked for, one after another."""
    for name in options.cards:
        if reason := missing(CARDS[name]):
            say(f"{name} left out: {reason}")
            continue
        for model in options.models:
            for trials in options.trials:
                for precision in options.precisions:
                    say(f"{name}: {model}, {trials:,} trials, {precision}")
                    yield program(options, name, model, trials, precision)


def program(options: Options, card: str, model: str, trials: int, precision: str) -> Program:
    """Compile one and read it."""
    made = programs.compile_for(CARDS[card], model, trials, precision, options.devices)
    if options.hlo is not None:
        options.hlo.mkdir(parents=True, exist_ok=True)
        (options.hlo / f"{card}-{model}-{trials}-{precision}.hlo").write_text(made.text)
    found = figures(made)
    facts = {"card": card, "model": model, "trials": trials, "precision": precision, "devices": options.devices}
    facts |= {"jaxlib": metadata.version("jaxlib"), "when": machine.describe()["when"], "figures": found.to_dict()}
    return Program(facts, found)


def show(records: list[Program]) -> None:
    """Tables, card by card."""
    console = report.console()
    console.width = 160
    for card in dict.fromkeys(record.facts["card"] for record in records):
        here = [record for record in records if record.facts["card"] == card]
        rows = [(record.name, record.facts["precision"], record.figures) for record in here]
        console.print(tables.programs_table(CARDS[card], rows))
        console.print(tables.memory_table(CARDS[card], [(r.name, r.facts["trials"], r.figures) for r in here]))
        console.print("MiB written and read; µs that bytes, operations and launches take at the least.")


if __name__ == "__main__":
    main()
