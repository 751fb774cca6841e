"""One compiled program for many trials: the only place with `vmap`, `jit` and devices."""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxinv.engine.sizing import Device
from jaxinv.training import keys
from jaxinv.training.trial import Arm, Data, Outcome, Setting, Trial, whole_trial

LOG = logging.getLogger(__name__)

TRIALS = "trials"  # the mesh axis
_NONE, _EVERY = Arm(None, None), Arm(0, 0)  # which axis of an arm to map over


def map_settings(phase: Callable[..., Any], *, one_by_one: bool) -> Callable[..., Any]:
    """A phase of one trial as a phase of [T, A, L] of them.

    Batches depend on the key alone, so under the maps over arms and learning rates they stay single: A·L networks read
    them in one product. On CPUs trials then run one after another (`one_by_one`): each fits the caches, and the numbers
    of a trial do not depend on how many others there are, to the last bit.
    """

    def over(setting: Setting) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def mapped(inner: Callable[..., Any]) -> Callable[..., Any]:
            return lambda at, which, *shared: jax.vmap(inner, in_axes=(0, setting, *(None for _ in shared)))(
                at, which, *shared
            )

        return mapped

    rates, arms, trials = (
        over(Setting(None, 0, _NONE)),
        over(Setting(None, None, _EVERY)),
        over(Setting(0, None, _NONE)),
    )
    grid = arms(rates(phase))
    if not one_by_one:
        return trials(grid)

    def in_turn(at: Any, setting: Setting, *shared: Any) -> Any:
        return lax.map(lambda x: grid(x[0], setting._replace(key=x[1]), *shared), (at, setting.key))

    return in_turn


def mesh(devices: tuple[Device, ...]) -> Mesh:
    """The devices in a row, the trials along it."""
    return Mesh(list(devices), (TRIALS,), axis_types=(jax.sharding.AxisType.Auto,))


def everywhere(devices: tuple[Device, ...]) -> NamedSharding:
    """A whole copy on each device."""
    return NamedSharding(mesh(devices), P())


class Plan(NamedTuple):
    """What a program is compiled for. Equal plans share one program within a process.

    Attributes:
      trial: the design of one trial.
      arms, rates: A and L, how many of each.
      per_device: trials that each device works on in one call.
      devices: the devices that share the trials.
      wide_evaluation: evaluate all of a device's trials in one product, rather than each after its training.
      precision: "exact" or "fast" products.
    """

    trial: Trial
    arms: int
    rates: int
    per_device: int
    devices: tuple[Device, ...]
    wide_evaluation: bool
    precision: Literal["exact", "fast"]

    @property
    def trials(self) -> int:
        """Trials in one call, over all devices."""
        return self.per_device * len(self.devices)


class Program:
    """A plan, compiled: called with trial numbers, it returns their `Outcome`, arrays that begin with axes T, A, L."""

    def __init__(self, plan: Plan, data: Data) -> None:
        self.plan = plan
        self.spread = NamedSharding(mesh(plan.devices), P(TRIALS))
        self.everywhere = everywhere(plan.devices)
        shape = plan.trial.image_shape
        pixels = jax.ShapeDtypeStruct((plan.arms, *shape), jnp.float32, sharding=self.everywhere)
        described = lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=self.everywhere)  # noqa: E731
        traced = partial(_chunk, plan)
        mapped = jax.shard_map(
            traced,
            mesh=mesh(plan.devices),
            in_specs=(P(), P(TRIALS), P(), P(), P()),
            out_specs=P(TRIALS),
            check_vma=False,
        )
        with jax.default_matmul_precision("highest" if plan.precision == "exact" else "default"):
            lowered = jax.jit(mapped).lower(
                jax.tree.map(described, jax.eval_shape(keys.root_key, 0)),
                jax.ShapeDtypeStruct((plan.trials,), jnp.uint32, sharding=self.spread),
                jax.ShapeDtypeStruct((plan.rates,), jnp.float32, sharding=self.everywhere),
                Arm(pixels, pixels),
                jax.tree.map(described, data),
            )
        self.compiled = lowered.compile()

    def place(self, tree: Any) -> Any:
        """Put arrays that all trials read onto every device."""
        return jax.device_put(tree, self.everywhere)

    def __call__(self, root: jax.Array, trials: Any, rates: jax.Array, arm: Arm, data: Data) -> Outcome:
        return self.compiled(root, jax.device_put(jnp.asarray(trials, jnp.uint32), self.spread), rates, arm, data)

    @property
    def bytes(self) -> int:
        """What one call needs on one device beside its inputs, by the compiler's own count; 0 where it has none."""
        analysis = self.compiled.memory_analysis()
        return 0 if analysis is None else analysis.temp_size_in_bytes + analysis.output_size_in_bytes


def _chunk(plan: Plan, root: jax.Array, trials: jax.Array, rates: jax.Array, arm: Arm, data: Data) -> Outcome:
    in_turn = plan.devices[0].platform == "cpu"
    return whole_trial(
        plan.trial,
        Setting(jax.vmap(keys.trial_key, in_axes=(None, 0))(root, trials), rates, arm),
        data,
        each=lambda phase: map_settings(phase, one_by_one=in_turn),
        together=lambda phase: map_settings(phase, one_by_one=in_turn and not plan.wide_evaluation),
    )


_programs: dict[Any, Program] = {}


def program(plan: Plan, data: Data) -> Program:
    """The compiled program of a plan for data of these shapes; compiled once a process."""
    key = plan, tuple((a.shape, a.dtype) for a in jax.tree.leaves(data))
    if key not in _programs:
        start = time.monotonic()
        made = _programs[key] = Program(plan, data)
        LOG.debug(
            "program of %d arm(s), %d rate(s), %d trials on each of %d device(s): %.2f s to compile, %.0f MiB",
            *(plan.arms, plan.rates, plan.per_device, len(plan.devices)),
            *(time.monotonic() - start, made.bytes / 2**20),
        )
    return _programs[key]
