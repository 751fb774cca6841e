"""Reads a compiled program's scheduled HLO: what runs, how often, and what each operation moves and computes."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

BITS = {
    "pred": 8,
    "s4": 4,
    "u4": 4,
    "s8": 8,
    "u8": 8,
    "bf16": 16,
    "f16": 16,
    "s16": 16,
    "u16": 16,
    "s32": 32,
    "u32": 32,
}
BITS |= {"f32": 32, "s64": 64, "u64": 64, "f64": 64}

#: What only names values, or waits for what runs beside the rest, and moves nothing itself.
FREE = frozenset(
    "parameter get-tuple-element tuple bitcast constant after-all partition-id opt-barrier copy-done slice-done "
    "async-done all-reduce-done collective-permute-done".split()
)
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective", "send", "recv")
CUTS = frozenset({"gather", "dynamic-slice"})  # read no more of their operand than they write

_SHAPE = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")


@dataclass(frozen=True)
class Op:
    """One instruction.

    Attributes:
      shape: of its result, as text.
      operands: their names.
      inside: all that stands in its parentheses.
      rest: all that follows them.
      root: whether it is its computation's result.
      trips: how often a loop runs; None of anything else, and where the compiler does not know.
    """

    name: str
    opcode: str
    shape: str
    operands: tuple[str, ...]
    inside: str
    rest: str
    root: bool
    trips: int | None = None

    @property
    def bytes(self) -> int:
        """Of the result, all parts of a tuple together."""
        return sum(BITS.get(kind, 32) * math.prod(dims) for kind, dims in shapes(self.shape)) // 8

    @property
    def op_name(self) -> str:
        """The place in the traced program that it comes from; empty where the compiler made it up."""
        found = re.search(r'op_name="([^"]*)"', self.rest)
        return found[1] if found else ""

    @property
    def calls(self) -> str | None:
        """The computation of a fusion."""
        found = re.search(r"\bcalls=%?([\w.\-]+)", self.rest)
        return found[1] if found else None

    @property
    def bodies(self) -> tuple[str, ...]:
        """Computations that run as they are: of a loop, a call or a branch."""
        if self.opcode == "while":
            return tuple(re.findall(r"\bbody=%?([\w.\-]+)", self.rest))
        if self.opcode == "call":
            return tuple(re.findall(r"\bto_apply=%?([\w.\-]+)", self.rest))
        if self.opcode == "conditional":
            listed = re.findall(r"branch_computations=\{([^}]*)\}", self.rest)
            names = (
                listed[0].split(",") if listed else re.findall(r"(?:true|false)_computation=%?([\w.\-]+)", self.rest)
            )
            return tuple(name.strip().lstrip("%") for name in names)
        return ()

    @property
    def cycles(self) -> int:
        """The compiler's own estimate (TPU); 0 where it has none."""
        found = re.search(r'"estimated_cycles":"(\d+)"', self.rest)
        return int(found[1]) if found else 0


@dataclass
class Computation:
    """A list of instructions, by name."""

    name: str
    entry: bool
    ops: dict[str, Op] = field(default_factory=dict)

    @property
    def root(self) -> Op:
        return next(op for op in self.ops.values() if op.root)


@dataclass(frozen=True)
class Step:
    """An operation that runs by itself.

    Attributes:
      loops: the loops around it, outermost first.
    """

    op: Op
    within: Computation
    loops: tuple[Op, ...]

    @property
    def times(self) -> int:
        """How often it runs in a call; a loop of unknown length counts once."""
        return math.prod(loop.trips or 1 for loop in self.loops)


class Module:
    """A compiled program."""

    def __init__(self, text: str) -> None:
        self.computations = parse(text)
        for computation in self.computations.values():
            for op in computation.ops.values():
                if op.opcode == "while":
                    computation.ops[op.name] = replace(op, trips=self._trips(op))

    def _trips(self, loop: Op) -> int | None:
        """How often a loop runs: as the compiler notes down, or as its condition, `counter < constant`, says."""
        if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest):
            return int(known[1])
        condition = self.computations[re.findall(r"\bcondition=%?([\w.\-]+)", loop.rest)[0]]
        limits = [condition.ops[name] for name in condition.root.operands if name in condition.ops]
        constants = [op for op in limits if op.opcode == "constant"]
        if condition.root.opcode != "compare" or "direction=LT" not in condition.root.rest or len(constants) != 1:
            return None
        return int(constants[0].inside)

    def steps(self) -> Iterator[Step]:
        """All operations that run by themselves, those in loops once."""
        entry = next(c for c in self.computations.values() if c.entry)
        yield from self._steps(entry, ())

    def _steps(self, computation: Computation, loops: tuple[Op, ...]) -> Iterator[Step]:
        for op in computation.ops.values():
            if op.opcode in FREE:
                continue
            inside = (*loops, op) if op.opcode == "while" else loops
            if not op.bodies:
                yield Step(op, computation, loops)
            for name in op.bodies:
                yield from self._steps(self.computations[name], inside)

    def inner(self, op: Op) -> Iterator[tuple[Op, Computation]]:
        """The instructions inside a fusion, and of fusions inside it."""
        inside = self.computations.get(op.calls or "")
        if inside is None:
            return
        for instruction in inside.ops.values():
            yield instruction, inside
            yield from self.inner(instruction)

    def written(self, op: Op) -> int:
        """Bytes that an operation writes: of a result that is changed in place, what is changed alone."""
        return op.bytes - sum(whole - part for whole, part in self._in_place(op))

    def read(self, step: Step) -> int:
        """Bytes that an operation reads: whole operands, but of one that is only gathered from, what is taken."""
        op, here = step.op, step.within.ops
        sizes = [here[name].bytes for name in op.operands if name in here and not here[name].shape.startswith("(")]
        opcodes = {op.opcode, *(instruction.opcode for instruction, _ in self.inner(op))}
        for whole, _ in self._in_place(op):
            if whole in sizes:
                sizes.remove(whole)
        most = self.written(op) if opcodes & CUTS else math.inf
        return int(sum(min(size, most) for size in sizes))

    def _in_place(self, op: Op) -> list[tuple[int, int]]:
        """Bytes of the whole and of the part, for each result that is an array with a part put in place."""
        if op.opcode == "dynamic-update-slice":
            return []  # its operands' shapes stand elsewhere; rare and small outside of fusions
        inside = self.computations.get(op.calls or "")
        if inside is None:
            return []
        roots = [inside.root]
        if inside.root.opcode == "tuple":
            roots = [inside.ops[name] for name in inside.root.operands]
        found = []
        for root in roots:
            while root.opcode == "bitcast" and root.operands[0] in inside.ops:
                root = inside.ops[root.operands[0]]
            if root.opcode == "dynamic-update-slice":
                found.append((root.bytes, inside.ops[root.operands[1]].bytes))
        return found

    def operations(self, step: Step) -> float:
        """Multiplications and additions of the products and convolutions in an operation."""
        own = _product(step.op, step.within)
        return own + sum(_product(op, within) for op, within in self.inner(step.op))

    def kind(self, op: Op) -> str:
        """What sort of kernel an operation is, in a word or two."""
        if op.opcode == "custom-call":
            return re.findall(r'custom_call_target="([^"]*)"', op.rest)[0]
        if op.opcode != "fusion":
            return op.opcode
        if "__triton" in op.rest:
            return "triton"
        opcodes = [instruction.opcode for instruction, _ in self.inner(op)]
        notable = [name for name in ("convolution", "dot", "gather", "scatter", "reduce") if name in opcodes]
        return f"fusion {notable[0]}" if notable else "fusion"

    def collectives(self) -> list[Step]:
        """Operations in which devices wait for each other."""
        return [step for step in self.steps() if step.op.opcode.startswith(COLLECTIVES)]


def shapes(text: str) -> list[tuple[str, tuple[int, ...]]]:
    """Element types and lengths in a shape's text.

    >>> shapes("(f32[2,3]{1,0}, u8[])")
    [('f32', (2, 3)), ('u8', ())]
    """
    return [(kind, tuple(int(n) for n in dims.split(",") if n)) for kind, dims in _SHAPE.findall(text)]


def parse(text: str) -> dict[str, Computation]:
    """All computations of a module, by name."""
    found: dict[str, Computation] = {}
    current: Computation | None = None
    for line in text.splitlines():
        if head := _HEAD.match(line):
            current = found[head[2]] = Computation(head[2], bool(head[1]))
        elif line.startswith("}"):
            current = None
        elif current is not None and (match := _LINE.match(line)):
            shape, opcode, inside, rest = _split(match[3])
            operands = tuple(re.findall(r"%([\w.\-]+)", inside))
            current.ops[match[2]] = Op(match[2], opcode, shape, operands, inside, rest, bool(match[1]))
    return found


def _split(text: str) -> tuple[str, str, str, str]:
    """The right side of an instruction: shape, opcode, operands, and what follows."""
    end = _closing(text, 0) + 1 if text.startswith("(") else text.index(" ")
    shape, rest = text[:end], text[end:].lstrip()
    start = rest.index("(")
    close = _closing(rest, start)
    return shape, rest[:start], rest[start + 1 : close], rest[close + 1 :]


def _closing(text: str, start: int) -> int:
    """Where the parenthesis that opens at `start` closes."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if depth == 0:
            return place
    raise ValueError(f"no closing parenthesis in {text[start : start + 60]!r}")


def _batches(op: Op) -> int:
    """How many products a convolution stands for: a TPU's compiler writes a batch as a window with gaps of its size."""
    window = re.findall(r"window=\{([^}]*)\}", op.rest)
    fields = dict(item.split("=") for item in window[0].split()) if window else {}
    sizes = [int(n) for n in fields.get("size", "").split("x") if n]
    gaps = [int(n) for n in fields.get("lhs_dilate", "").split("x") if n]
    return math.prod(size for size, gap in zip(sizes, gaps, strict=False) if size == gap)


def _product(op: Op, within: Computation) -> float:
    """Operations of one product or convolution; 0 of anything else."""

    def operand(place: int) -> tuple[int, ...]:
        return shapes(within.ops[op.operands[place]].shape)[0][1]

    results = shapes(op.shape)
    size = math.prod(results[0][1]) if results else 0
    if op.opcode == "dot":
        contracted = re.findall(r"lhs_contracting_dims=\{([\d,]*)\}", op.rest)[0]
        return 2.0 * size * math.prod(operand(0)[int(axis)] for axis in contracted.split(",") if axis)
    if op.opcode == "convolution":
        labels = re.findall(r"dim_labels=\w+_(\w+)->", op.rest)[0]
        kernel = operand(1)
        return 2.0 * size * math.prod(kernel) / kernel[labels.index("o")] / _batches(op)
    if op.opcode == "custom-call" and "matmul" in op.rest.split(",")[1 if op.rest.startswith(",") else 0]:
        config = json.loads(re.findall(r"backend_config=(\{.*\})", op.rest)[0])
        numbers = config.get("gemm_backend_config", config)["dot_dimension_numbers"]
        return 2.0 * size * math.prod(operand(0)[int(axis)] for axis in numbers["lhs_contracting_dimensions"])
    return 0.0
