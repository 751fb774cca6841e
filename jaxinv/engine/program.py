"""One compiled program for many trials: the only place with `vmap`, `jit` and sharding."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxinv.engine.devices import Device
from jaxinv.engine.setup import cores
from jaxinv.models import targets
from jaxinv.training import keys
from jaxinv.training.evaluate import EvalMetrics
from jaxinv.training.inputs import Affine, Data
from jaxinv.training.trial import TrainState, Trial, TrialResult, WeightChange

LOG = logging.getLogger(__name__)

TRIALS = "trials"  # the mesh axis


def mesh(devices: tuple[Device, ...]) -> Mesh:
    """The devices in a row, the trials along it."""
    return Mesh(list(devices), (TRIALS,), axis_types=(jax.sharding.AxisType.Auto,))


def replicated(devices: tuple[Device, ...]) -> NamedSharding:
    """A whole copy on each device."""
    return NamedSharding(mesh(devices), P())


class ProgramSpec(NamedTuple):
    """What a program is compiled for. Equal specifications share one program within a process.

    Attributes:
      trial: what its trials have in common.
      arms, rates: A and L, how many of each.
      one_scale: whether each arm has one scale for all pixels, given as one number.
      trial_batch: trials that each device works on in one call.
      devices: the devices that share the trials.
      target: the ways that the program takes on them.
      wide_evaluation: evaluate all of a device's trials in one product, rather than each after its training.
      precision: "exact" or "fast" products.
    """

    trial: Trial
    arms: int
    rates: int
    one_scale: bool
    trial_batch: int
    devices: tuple[Device, ...]
    target: targets.Target
    wide_evaluation: bool
    precision: Literal["exact", "fast"]

    @property
    def trials(self) -> int:
        """Trials in one call, over all devices."""
        return self.trial_batch * len(self.devices)


def trace(spec: ProgramSpec, data: Data) -> jax.stages.Traced:
    """The program of a specification, for data of these shapes, traced and ready to be lowered."""
    sharded, everywhere = NamedSharding(mesh(spec.devices), P(TRIALS)), replicated(spec.devices)
    described = lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=everywhere)  # noqa: E731
    offset = described(jax.ShapeDtypeStruct((spec.arms, *spec.trial.model.image_shape), jnp.float32))
    scale = described(jax.ShapeDtypeStruct((spec.arms, 1, 1, 1), jnp.float32)) if spec.one_scale else offset
    mapped = jax.shard_map(
        partial(run_trial_batch, spec),
        mesh=mesh(spec.devices),
        in_specs=(P(), P(TRIALS), P(), P(), P()),
        out_specs=P(TRIALS),
        check_vma=False,
    )
    precision = "highest" if spec.precision == "exact" else "default"
    with targets.writing_for(spec.target), jax.default_matmul_precision(precision):
        return jax.jit(mapped).trace(
            jax.tree.map(described, jax.eval_shape(keys.root_key, 0)),
            jax.ShapeDtypeStruct((spec.trials,), jnp.uint32, sharding=sharded),
            described(jax.ShapeDtypeStruct((spec.rates,), jnp.float32)),
            Affine(scale, offset),
            jax.tree.map(described, data),
        )


class Program:
    """A compiled program: called with trial numbers, it returns their `TrialResult`, arrays with axes T, A, L first."""

    def __init__(self, spec: ProgramSpec, data: Data) -> None:
        self.spec = spec
        self.sharded = NamedSharding(mesh(spec.devices), P(TRIALS))
        self.replicated = replicated(spec.devices)
        self._lowered = trace(spec, data).lower()

    def compile(self) -> None:
        """Have the compiler make a program of it; until then it cannot be called."""
        start = time.monotonic()
        self.compiled = self._lowered.compile()
        del self._lowered
        LOG.debug(
            "program of %d arm(s), %d rate(s), %d trials on each of %d device(s): %.2f s to compile, %.0f MiB",
            *(self.spec.arms, self.spec.rates, self.spec.trial_batch, len(self.spec.devices)),
            *(time.monotonic() - start, self.bytes / 2**20),
        )

    def place(self, tree: Any) -> Any:
        """Put arrays that all trials read onto every device."""
        return jax.device_put(tree, self.replicated)

    def __call__(self, root: jax.Array, trials: Any, rates: jax.Array, affine: Affine, data: Data) -> TrialResult:
        return self.compiled(root, jax.device_put(np.asarray(trials, np.uint32), self.sharded), rates, affine, data)

    @property
    def bytes(self) -> int:
        """What one call needs on one device beside its inputs, by the compiler's own count; 0 where it has none."""
        analysis = self.compiled.memory_analysis()
        return 0 if analysis is None else analysis.temp_size_in_bytes + analysis.output_size_in_bytes


def run_trial_batch(
    spec: ProgramSpec, root: jax.Array, trials: jax.Array, rates: jax.Array, affine: Affine, data: Data
) -> TrialResult:
    """The trials of these numbers [T] on one device, under all arms [A] and learning rates [L]: `Trial.run`, mapped.

    On CPUs trials are trained one after another. Each fits the caches, and the products in it are the same however many
    others there are. Their evaluation is one wide product over all of them where that is faster.

    A trial's random numbers are the same to the last bit for every T, A and L. Norms and losses are sums, which the
    compiler may order differently (it unrolls a loop over one trial, and fuses what is inside with what follows):
    between two values of T they agree to one part in 100,000, and hits agree unless two logits are equal to rounding.
    """
    trial = spec.trial
    key = jax.vmap(keys.trial_key, in_axes=(None, 0))(root, trials)
    in_turn = spec.target.in_turn
    networks = partial(_over_networks, key=key, affine=affine, rates=rates)
    evaluate_in_turn = in_turn and not spec.wide_evaluation

    def train_and_evaluate(carry: tuple[TrainState, Any], first_step: jax.Array) -> tuple[Any, Any]:
        def train(state: TrainState, key: jax.Array, affine: Affine, rate: jax.Array) -> tuple[TrainState, jax.Array]:
            with jax.named_scope("train"):
                return trial.train(state, key, affine, rate, first_step, data)

        def evaluate(state: TrainState, key: jax.Array, affine: Affine, rate: jax.Array) -> tuple[EvalMetrics, Any]:
            with jax.named_scope("evaluate"):
                return trial.evaluate(state, affine, data)

        state, train_loss = networks(train, carry[0], in_turn=in_turn)
        metrics, predictions = networks(evaluate, state, in_turn=evaluate_in_turn)
        return (state, predictions), (train_loss, metrics)

    def init(state: None, key: jax.Array, affine: Affine, rate: jax.Array) -> tuple[TrainState, Any]:
        return trial.init(key, rate), trial.no_predictions(data)

    def transfer(state: TrainState, key: jax.Array, affine: Affine, rate: jax.Array) -> EvalMetrics | None:
        return trial.transfer(state, data)

    def weight_change(state: TrainState, key: jax.Array, affine: Affine, rate: jax.Array) -> WeightChange:
        return trial.weight_change(state, key)

    begin = networks(init, None, in_turn=in_turn)
    (state, predictions), (train_loss, metrics) = lax.scan(train_and_evaluate, begin, trial.first_steps)
    transferred = networks(transfer, state, in_turn=evaluate_in_turn)
    change = networks(weight_change, state, in_turn=in_turn)
    return trial.result(state, train_loss, metrics, predictions, transferred, change)


def _over_networks(
    one: Callable[[Any, jax.Array, Affine, jax.Array], Any],
    state: Any,
    *,
    key: jax.Array,
    affine: Affine,
    rates: jax.Array,
    in_turn: bool,
) -> Any:
    """`one`, a function of one network's (state, key, affine, learning rate), over T trials, A arms and L rates.

    A trial's batches depend on its key alone. Under the maps over arms and learning rates they stay single, so that
    A·L networks read them in one product.
    """
    over_rates = jax.vmap(one, in_axes=(0, None, None, 0))
    over_arms = jax.vmap(over_rates, in_axes=(0, None, 0, None))
    if in_turn:
        return lax.map(lambda trial: over_arms(trial[0], trial[1], affine, rates), (state, key))
    return jax.vmap(over_arms, in_axes=(0, 0, None, None))(state, key, affine, rates)


_programs: dict[Any, Program] = {}
_compiling = threading.Lock()  # runs in several threads share programs


def compiled_programs(wanted: Sequence[tuple[ProgramSpec, Data]]) -> list[Program]:
    """The programs of some specifications for data of these shapes; each compiled once a process, side by side."""
    keys = [(spec, tuple((a.shape, a.dtype) for a in jax.tree.leaves(data))) for spec, data in wanted]
    with _compiling, ThreadPoolExecutor(cores()) as pool:
        new = {key: wanted[index] for index, key in enumerate(keys) if key not in _programs}
        lowered = {key: Program(*given) for key, given in new.items()}  # in this thread, whose settings hold
        list(pool.map(Program.compile, lowered.values()))
        _programs.update(lowered)
        return [_programs[key] for key in keys]
