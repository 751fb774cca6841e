"""A compiled program in figures: what an update and an evaluation move and compute, and what bounds their time."""

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.aot.cards import Card
from benchmarks.aot.hlo import Module, Op, Step
from benchmarks.aot.programs import Compiled

EVALUATION, TRAINING = "evaluate", "train"  # the names that the engine gives its parts in the traced program


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one update, or one evaluation, of all trials of a call takes.

    Attributes:
      kernels: operations that run by themselves.
      written, read: bytes.
      operations: of products and convolutions, a multiplication and an addition each.
      cycles: the compiler's own estimate (TPU), which leaves gathers out.
    """

    kernels: float
    written: float
    read: float
    operations: float
    cycles: float

    @property
    def moved(self) -> float:
        """Bytes, both ways."""
        return self.written + self.read

    def seconds(self, card: Card, precision: str) -> dict[str, float]:
        """The least time that each of a card's limits allows."""
        return {
            "bytes": self.moved / card.bandwidth,
            "operations": self.operations / (card.exact if precision == "exact" else card.fast),
            "launches": self.kernels * card.launch,
        }

    def bound(self, card: Card, precision: str) -> str:
        """The limit that takes longest."""
        seconds = self.seconds(card, precision)
        return max(seconds, key=lambda name: seconds[name])


@dataclass(frozen=True, kw_only=True)
class Figures:
    """A program's figures.

    Attributes:
      update, evaluation: of all trials of a call.
      kinds: kernels of one trip of the training loop, by kind.
      updates_a_trip: updates that one trip of the loop makes.
      memory: as `Compiled` has it.
      collectives: in the training loop.
      seconds: to compile.
    """

    update: Part
    evaluation: Part
    kinds: dict[str, int]
    updates_a_trip: int
    memory: dict[str, int]
    collectives: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def figures(compiled: Compiled) -> Figures:
    """Of a compiled program."""
    module = Module(compiled.text)
    loop = training_loop(module, compiled.updates // compiled.evaluations)
    a_trip = compiled.updates // compiled.evaluations // (loop.trips or 1)
    steps = list(module.steps())
    inside = [step for step in steps if loop in step.loops]
    outside = [step for step in steps if loop not in step.loops and _within(step, EVALUATION)]
    return Figures(
        update=_part(module, inside, compiled.updates),
        evaluation=_part(module, outside, compiled.evaluations),
        kinds=dict(Counter(module.kind(step.op) for step in inside)),
        updates_a_trip=a_trip,
        memory=compiled.memory,
        collectives=sum(loop in step.loops for step in module.collectives()),
        seconds=compiled.seconds,
    )


def training_loop(module: Module, updates: int) -> Op:
    """The loop over the updates between two evaluations.

    Raises:
      LookupError: no loop's length divides their number.
    """
    loops = {loop.name: loop for step in module.steps() for loop in step.loops}
    named = [loop for loop in loops.values() if loop.trips and updates % loop.trips == 0 and _named(loop, TRAINING)]
    if not named:
        raise LookupError(
            f"no loop of {updates} updates among {[(x.name, x.trips, x.op_name) for x in loops.values()]}"
        )
    return max(named, key=lambda loop: loop.trips or 0)


def _named(op: Op, part: str) -> bool:
    return any(part in place for place in op.op_name.split("/"))


def _within(step: Step, part: str) -> bool:
    return any(_named(op, part) for op in (step.op, *step.loops))


def _part(module: Module, steps: list[Step], times: int) -> Part:
    def total(each: Any) -> float:
        return math.fsum(each(step) * step.times for step in steps) / times

    return Part(
        kernels=total(lambda step: 1),
        written=total(lambda step: module.written(step.op)),
        read=total(module.read),
        operations=total(module.operations),
        cycles=total(lambda step: step.op.cycles),
    )
