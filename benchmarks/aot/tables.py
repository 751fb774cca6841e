"""Compiled programs side by side."""

from collections.abc import Iterable

from rich.box import SIMPLE
from rich.table import Table

from benchmarks.aot.cards import Card
from benchmarks.aot.figures import Figures, Part

MIB = 2**20

HEADINGS = ("program", "kernels", "written", "read", "GFLOP", "bytes", "operations", "launches", "bound")


def programs_table(card: Card, programs: Iterable[tuple[str, str, Figures]]) -> Table:
    """An update and an evaluation of each (name, precision, figures) on one card; times in µs, MiB moved."""
    table = Table(title=f"{card.title}, as compiled", title_justify="left", box=SIMPLE, pad_edge=False)
    for place, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for name, precision, found in programs:
        for label, part in (("an update", found.update), ("an evaluation", found.evaluation)):
            table.add_row(f"{name}, {label}", *_cells(card, part, precision))
    return table


def memory_table(card: Card, programs: Iterable[tuple[str, int, Figures]]) -> Table:
    """Memory that each (name, trials, figures) needs on one device, and its kernels by kind."""
    table = Table(title=f"{card.title}: memory and kernels of the training loop", title_justify="left", box=SIMPLE)
    for place, heading in enumerate(("program", "GiB", "MiB a trial", "kernels of a trip")):
        table.add_column(heading, justify="right" if 0 < place < 3 else "left")
    for name, trials, found in programs:
        needed = found.memory["temporary"] + found.memory["output"]
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.kinds.items(), key=lambda item: -item[1]))
        table.add_row(name, f"{needed / 2**30:.2f}", f"{needed / MIB / trials:.2f}", kinds)
    return table


def _cells(card: Card, part: Part, precision: str) -> list[str]:
    seconds = part.seconds(card, precision)
    times = [f"{1e6 * seconds[limit]:,.0f}" for limit in ("bytes", "operations", "launches")]
    size = [f"{part.kernels:.1f}", f"{part.written / MIB:,.0f}", f"{part.read / MIB:,.0f}"]
    return [*size, f"{part.operations / 1e9:,.1f}", *times, part.bound(card, precision)]
