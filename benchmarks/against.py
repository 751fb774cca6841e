"""Whole processes of this checkout against those of another one, such as an earlier commit.

    git worktree add /tmp/before COMMIT
    python benchmarks/against.py /tmp/before

Each command runs in both checkouts in turn: the published job with no compiled programs from before, `--help`, and
`import jaxinv`. Both are compiled to bytecode first, as an installation does: the time to read source is not counted.
"""

import compileall
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run as a file: modules are looked up from the checkout, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import tyro

from benchmarks import machine, report
from benchmarks.harness import Contender, measure, ratio, say
from benchmarks.peers import Run
from benchmarks.processes import run_process
from benchmarks.report import Part

HERE = Path(__file__).resolve().parents[1]
NO_SLOWER = 1.0
COMMANDS = {
    "run": ("-m", "jaxinv", "run", "--quiet", "--no-cache"),
    "help": ("-m", "jaxinv", "--help"),
    "import": ("-c", "import jaxinv"),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to hold against what."""

    checkout: tyro.conf.Positional[Path]
    """The other checkout."""
    repeats: int = 9
    """Samples of each command in each checkout."""
    json: bool = False
    """One JSON object on standard output, instead of tables."""
    tiny: bool = False
    """`--help` alone, twice: does it all work?"""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    before = options.checkout.resolve()
    if not (before / "jaxinv" / "__init__.py").is_file():
        sys.exit(f"against: checkout: {options.checkout} holds no package jaxinv; give the top folder of a checkout")
    for checkout in (HERE, before):
        compileall.compile_dir(checkout / "jaxinv", quiet=1)
    parts = {
        name: compare(name, before, 2 if options.tiny else options.repeats)
        for name in (["help"] if options.tiny else COMMANDS)
    }
    if options.json:
        found = {name: part.to_dict() for name, part in parts.items()}
        report.print_json({"benchmark": "against", **machine.describe(), "parts": found})
    else:
        for part in parts.values():
            part.show(report.console())


def compare(name: str, before: Path, repeats: int) -> Part:
    """One command in both checkouts."""
    command = [sys.executable, *COMMANDS[name]]
    now, then = (
        Contender(who, f"{name}, {who}", _process(command, checkout))
        for who, checkout in (("now", HERE), ("before", before))
    )
    measure([now, then], repeats, say)
    return Part(
        title=f"python {' '.join(COMMANDS[name])}",
        contenders=[now, then],
        ratios=[ratio(f"{name}: now / before", now.samples_s, then.samples_s, at_most=NO_SLOWER)],
    )


def _process(command: list[str], checkout: Path) -> Callable[[], Run]:
    """Prepares runs of a command with the package of one checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}

    def run() -> np.ndarray:
        return np.array([run_process(command, environment=environment, cwd=str(checkout.parent)).seconds])

    return lambda: run


if __name__ == "__main__":
    main()
