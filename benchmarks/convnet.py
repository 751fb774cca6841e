"""Networks with more to them than one layer: the MLP 784-128-10 and the small convnet, against what users would write.

    python benchmarks/convnet.py                     both, as tables
    python benchmarks/convnet.py --parts cnn --json  one of them, every sample, as one JSON object

`mlp`: 100 trials under 2 arms, 50 updates of 100. `cnn`: 16 trials under one arm, 20 updates of 100. Each network is
then evaluated on all 10,000 test images. Exit status 1: the contenders disagree.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

if not __package__:  # run as a file: modules are looked up from the checkout, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

import jaxinv as ji
from benchmarks import machine, ours, report, warm
from benchmarks.harness import Disagreement, ratio, say
from benchmarks.report import Part

Name = Literal["mlp", "cnn"]

STUDIES: dict[Name, dict[str, Any]] = {
    "mlp": {"model": "mlp", "arms": ("normal", "inverted"), "trials": 100, "steps": 50, "learning_rate": 0.1},
    "cnn": {"model": "cnn", "arms": ("normal",), "trials": 16, "steps": 20, "learning_rate": 0.1},
}
TINY: dict[Name, dict[str, Any]] = {"mlp": {"trials": 4, "steps": 4}, "cnn": {"trials": 2, "steps": 2}}
GOALS = {"mlp": {"torch_eager": 4.0, "torch_vmap": 6.0}, "cnn": {"flax_vmap": 10.0}}
FASTER_LAYOUT_GOAL = 1.4


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and how often."""

    parts: tuple[Name, ...] = ("mlp", "cnn")
    """Which networks."""
    repeats: int = 5
    """Samples of each contender."""
    only: tuple[str, ...] = ()
    """Peers by name (default: all)."""
    seed: int = 0
    """Root of all randomness."""
    json: bool = False
    """One JSON object on standard output, instead of tables."""
    tiny: bool = False
    """A few small trials: does it all work?"""

    def study(self, name: Name) -> ji.Study:
        """The job of that name."""
        fields = {**STUDIES[name], "seed": self.seed}
        if self.tiny:
            fields |= {"dataset": ours.small_mnist(), **TINY[name]}
        return ji.Study(**fields)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.tiny:
        options = replace(options, repeats=min(options.repeats, 2))
    ours.configure()
    try:
        parts = {name: measure(name, options) for name in options.parts}
    except Disagreement as error:
        sys.exit(f"convnet: {error}")
    if options.json:
        report.print_json(
            {"benchmark": "convnet", **machine.describe(), "parts": {n: p.to_dict() for n, p in parts.items()}}
        )
    else:
        for part in parts.values():
            part.show(report.console())


def measure(name: Name, options: Options) -> Part:
    """One network: jaxinv, its peers, the floor."""
    part = warm.run(
        options.study(name),
        repeats=options.repeats,
        goals={} if options.tiny else GOALS[name],
        sizes=(128,) if options.tiny else machine.SIZES,
        only=options.only,
        say=say,
    )
    us, *others = part.contenders
    layouts = [one for one in others if name == "cnn" and one.samples_s and one.name.startswith("torch")]
    if not layouts:
        return part
    faster = min(layouts, key=lambda one: one.median_s or 0.0)
    goal = None if options.tiny else FASTER_LAYOUT_GOAL
    best = ratio("PyTorch eager, faster layout / jaxinv", faster.samples_s, us.samples_s, at_least=goal)
    return replace(part, ratios=[best, *part.ratios])


if __name__ == "__main__":
    main()
