"""What a benchmark prints: tables of at most 96 columns, or one JSON object."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Contender, Ratio

WIDTH = 96


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one part of a benchmark found.

    Attributes:
      title: what was done.
      contenders: who did it, with every sample.
      ratios: what is held against what.
      arms: names of the rows of the contenders' accuracies, where they have any.
      facts: more for the JSON.
      notes: more for the reader.
    """

    title: str
    contenders: Sequence[Contender]
    ratios: Sequence[Ratio]
    arms: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        contenders = [contender.to_dict(self.arms) for contender in self.contenders]
        return {
            "title": self.title,
            **self.facts,
            "contenders": contenders,
            "ratios": [one.to_dict() for one in self.ratios],
        }

    def show(self, console: Console) -> None:
        console.print(contenders_table(self.title, self.contenders, self.arms))
        for note in (*self.notes, *(f"Skipped: {one.title}: {one.skipped}." for one in self.contenders if one.skipped)):
            console.print(note)
        console.print(ratios_table(self.ratios))


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on standard output; what is not a number becomes null."""
    print(json.dumps(_finite(value), allow_nan=False))


def console() -> Console:
    return Console(width=WIDTH, highlight=False)


def contenders_table(title: str, contenders: Iterable[Contender], arms: Sequence[str]) -> Table:
    """Times of the contenders that took part, in the order given; under each arm's name the mean accuracy."""
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("contender", no_wrap=True)
    for heading in ("median", "fastest", "first run", "others", *arms):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in contenders:
        if one.skipped:
            continue
        assert one.result is not None  # since it took part
        times = [one.median_s, min(one.samples_s, default=None), one.first_s]
        others = sum(one.others) / max(len(one.others), 1)
        cells = [seconds(time) for time in times] + ["?" if math.isnan(others) else f"{others:.0%}"]
        table.add_row(one.title, *cells, *(f"{row.mean():.4f}" for _, row in zip(arms, one.result, strict=False)))
    return table


def ratios_table(ratios: Iterable[Ratio]) -> Table:
    """Ratios beside their goals."""
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("ratio of medians", no_wrap=True)
    for heading in ("value", "quartiles", "goal", "reached"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in ratios:
        goal = f"≥ {one.at_least:g}" if one.at_least else f"≤ {one.at_most:g}" if one.at_most else ""
        reached = {None: "", True: "yes", False: "no"}[one.met]
        table.add_row(one.what, f"{one.value:.2f}", f"{one.low:.2f} to {one.high:.2f}", goal, reached)
    return table


def seconds(value: float | None) -> str:
    """With a unit that suits.

    >>> seconds(0.0123), seconds(2.5)
    ('12.3 ms', '2.50 s')
    >>> seconds(0.183), seconds(12.34)
    ('183 ms', '12.3 s')
    """
    if value is None or not math.isfinite(value):
        return ""
    value, unit = (value, "s") if value >= 1 else (value * 1e3, "ms")
    return f"{value:#.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
