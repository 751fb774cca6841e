"""The engine's own programs, compiled for a card that is not there."""

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np

import jaxinv as ji
from benchmarks.aot import cards
from jaxinv.engine.keeping import NOTHING
from jaxinv.engine.planning import program_spec
from jaxinv.engine.program import trace
from jaxinv.engine.resolve import ResolvedStudy, resolve
from jaxinv.engine.trial_batch import plan_evaluation
from jaxinv.models.targets import target_of

STUDIES: dict[str, dict[str, Any]] = {
    "softmax": {"learning_rate": 0.5},
    "mlp": {"learning_rate": 0.1},
    "cnn": {"learning_rate": 0.1},
    "deep_mnist": {"learning_rate": 1e-4, "optimizer": "adam", "batch_size": 50},
}
ARMS = ("normal", "inverted")
STEPS = 50


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A program as the compiler left it.

    Attributes:
      text: its scheduled HLO.
      memory: bytes that one device needs, by use: "temporary", "arguments", "output".
      seconds: to trace, lower and compile.
      updates, evaluations: of each trial in one call.
    """

    text: str
    memory: dict[str, int]
    seconds: float
    updates: int
    evaluations: int


def study_of(model: str, trials: int, precision: str, **changes: Any) -> ji.Study:
    """The job by which a model's program is judged: two affine arms, 50 updates, one evaluation."""
    fields = {"model": model, "arms": ARMS, "trials": trials, "steps": STEPS, "precision": precision, **STUDIES[model]}
    return ji.Study(**{**fields, **changes})


@lru_cache(maxsize=8)
def _resolved(model: str) -> ResolvedStudy:
    """With the data read and the pixels ordered once."""
    return resolve(study_of(model, 1, "exact"))


def compile_for(card: cards.Card, model: str, trials: int, precision: str, devices: int = 1) -> Compiled:
    """The program of a model for so many trials on each of some devices of a card."""
    start = time.monotonic()
    there = cards.devices(card, devices)
    known = _resolved(model)
    resolved = ResolvedStudy(
        study_of(model, trials * devices, precision), known.dataset, known.preprocesses, known.treatments
    )
    (group,) = resolved.groups
    data = resolved.data(group, plan_evaluation(group, there[0], trials).tile, target_of(there[0].platform))
    spec, data = program_spec(resolved, NOTHING, group, there, trials, data)
    compiled = _compiled(trace(spec, data).lower())
    memory: Any = compiled.memory_analysis()
    return Compiled(
        text=compiled.as_text() or "",
        memory={
            "temporary": memory.temp_size_in_bytes,
            "arguments": memory.argument_size_in_bytes,
            "output": memory.output_size_in_bytes,
        },
        seconds=time.monotonic() - start,
        updates=resolved.study.steps,
        evaluations=len(resolved.study.eval_steps),
    )


def _compiled(lowered: Any) -> Any:
    """Without a card nobody tunes Triton's tiles, and the guess fits not every product: then all go to cuBLAS."""
    try:
        return lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "output tile sizes" not in str(error):
            raise
        return lowered.compile(compiler_options={"xla_gpu_enable_triton_gemm": False})


def host_bytes(trials: int) -> int:
    """What the host sends a call: the trials' numbers."""
    return trials * np.dtype(np.uint32).itemsize
