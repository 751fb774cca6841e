"""How many trials at once: from the shapes of a job and the memory of a device, before anything is compiled."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core as jex

from jaxinv.engine.job import Group, Job
from jaxinv.models import Model
from jaxinv.training import keys
from jaxinv.utils.memory import available_bytes

Device = Any  # jax.Device, which type checkers take for a variable

CPU_TRIALS = 25  # per device and call; more gain nothing once their evaluation is one wide product
CPU_TILE = 250  # test images evaluated at a time: at 125 to 1,250 equally fast
CPU_TILE_BYTES = 6 << 20  # of the largest value of a tile: a second and a third one are in the caches with it
ACCELERATOR_TILE = 10_000
ACCELERATOR_TILE_BYTES = 1 << 30
SHARE = 0.6  # of the free memory
SECONDS_FLOPS = {"cpu": 2e11}  # about a second's work of one device: how long a call may take, and Ctrl-C has to wait
ACCELERATOR_FLOPS = 2e13
STEP_FLOPS = 5e6  # what a CPU could compute in the time that it takes to start one more update


class Sizes(NamedTuple):
    """What `choose` decided, and why."""

    per_device: int  # trials in one call on one device
    tile: int  # test images evaluated at a time
    wide: bool  # evaluate a device's trials in one product
    why: str


class Costs(NamedTuple):
    """What a model costs for one image, counted from its shapes."""

    activation_bytes: int  # the most memory that any one value needs on the way from pixels to logits
    forward_flops: float
    update_flops: float  # forward, and the gradient of the weights


@lru_cache
def costs(model: Model, image_shape: tuple[int, int, int], classes: int) -> Costs:
    """Memory and arithmetic of a model: products and convolutions, multiply and add apart."""
    count = 8
    key = jax.eval_shape(keys.root_key, 0)
    start = jax.eval_shape(lambda key: model.init(key, image_shape, classes), key)
    images = jax.ShapeDtypeStruct((count, *image_shape), jnp.float32)

    def logits(params: Any, state: Any, x: jax.Array) -> jax.Array:
        return model.apply(params, state, x, train=False, key=None)[0]

    def gradient(params: Any, state: Any, x: jax.Array, key: jax.Array) -> Any:
        return jax.grad(lambda p: model.apply(p, state, x, train=True, key=key)[0].sum())(params)

    forward = jax.make_jaxpr(logits)(*start, images).jaxpr
    update = jax.make_jaxpr(gradient)(*start, images, key).jaxpr
    parameters = {leaf.shape for leaf in jax.tree.leaves(start)}
    most = max(_bytes(forward, parameters), 4 * math.prod(image_shape) * count)
    return Costs(most // count, _flops(forward) / count, _flops(update) / count)


def choose(job: Job, devices: tuple[Device, ...], chunk: int | None, processes: int = 1) -> Sizes:
    """Trials per device and call, and the length of a tile, for a job on some devices.

    On CPUs the caches decide; elsewhere memory does: what a trial carries (weights, optimizer, gradients) and what its
    evaluation holds, times arms and learning rates.
    """
    study = job.study
    networks = len(study.arms) * len(study.learning_rates)
    weights = sum(4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(job.parameters))
    per_image = costs(job.model, job.image_shape, job.dataset.classes).activation_bytes
    cpu = devices[0].platform == "cpu"
    hidden = per_image > 4 * math.prod(job.image_shape)  # larger than the image itself: convolutions
    wide = not (cpu and hidden)
    share = -(-study.trials // (len(devices) * processes))  # more than this on a device would be padding
    brief = max(1, int(trials_a_second(job, devices[0])))
    at_once = min(CPU_TRIALS, share) if wide else 1
    most, budget = (CPU_TILE, CPU_TILE_BYTES) if cpu else (ACCELERATOR_TILE, ACCELERATOR_TILE_BYTES)
    copies = networks * at_once if hidden else 1  # the images themselves are there once for all networks
    tile = max(1, min(most, budget // (per_image * copies)))
    each = networks * (6 * weights + per_image * (study.batch_size * 3 + (tile if wide else 0)))
    each += 4 * study.batch_size * (study.eval_every or study.steps)  # which examples its batches hold
    free = free_bytes(devices[0])
    fits = max(1, int(SHARE * free / (len(devices) if cpu else 1) / each))
    if chunk is not None:
        per_device = -(-min(chunk, study.trials) // len(devices))
        why = f"--chunk {chunk}"
    else:
        most = min(CPU_TRIALS if cpu else 100_000, fits, brief)
        calls = -(-share // most)
        per_device = -(-share // calls)
        limits = {
            "memory": fits,
            "time, to stop soon": brief,
            "caches": CPU_TRIALS if cpu else share + 1,
            "trials": share,
        }
        limit = min(limits, key=lambda name: limits[name])
        why = f"limited by {limit}; {each / 2**20:.1f} MiB a trial, {free / 2**30:.1f} GiB free"
    return Sizes(per_device, tile, wide, why)


def block_length(job: Job, devices: tuple[Device, ...], call: int, processes: int = 1) -> int:
    """Trials in one block of the store: a whole number of calls, about two seconds of work, at most 4,096 trials.

    (One call, where that is more: many trials a call on many devices.)

    Blocks are what processes divide among themselves, so each gets equally many as far as the calls allow.
    """
    share = -(-job.study.trials // processes)
    most = max(1, int(min(2 * trials_a_second(job, devices[0]) * len(devices), 4096)) // call)
    rounds = -(-share // (most * call))
    return min(most, -(-share // (rounds * call))) * call


def trials_a_second(job: Job, device: Device) -> float:
    """A rough guess, within a few times, from arithmetic alone."""
    work = flops(job) + (STEP_FLOPS * job.study.steps if device.platform == "cpu" else 0)
    return SECONDS_FLOPS.get(device.platform, ACCELERATOR_FLOPS) / work


def flops(job: Job) -> float:
    """Arithmetic of one trial under all arms and learning rates."""
    study = job.study
    update = costs(job.model, job.image_shape, job.dataset.classes).update_flops
    training = len(study.arms) * study.steps * study.batch_size * update
    looks = sum(len(group.positions) * _look_flops(job, group) for group in job.groups)
    return len(study.learning_rates) * (training + len(study.eval_steps) * looks)


def _look_flops(job: Job, group: Group) -> float:
    """Arithmetic of one evaluation of one network."""
    lit = job.lit(group)
    if lit is None:
        return len(job.dataset.x_test) * costs(job.model, job.image_shape, job.dataset.classes).forward_flops
    shapes = [(len(part.images), (part.width, 1, 1)) for part in lit.parts]
    return sum(count * costs(job.model, shape, job.dataset.classes).forward_flops for count, shape in shapes)


def free_bytes(device: Device) -> int:
    """Memory that is free on a device now; for a CPU, the machine's."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return available_bytes()


def _inner(equation: jex.JaxprEqn) -> list[Any]:
    """The programs inside an operation (a jitted function, a loop's body)."""
    values = [
        v for value in equation.params.values() for v in (value if isinstance(value, (tuple, list)) else (value,))
    ]
    return [getattr(v, "jaxpr", v) for v in values if hasattr(getattr(v, "jaxpr", v), "eqns")]


def _bytes(jaxpr: Any, leave_out: set[tuple[int, ...]]) -> int:
    most = 0
    for equation in jaxpr.eqns:
        most = max([most, *(_bytes(inner, leave_out) for inner in _inner(equation))])
        for variable in equation.outvars:
            shape = getattr(variable.aval, "shape", ())
            if shape not in leave_out:
                most = max(most, math.prod(shape) * 4)
    return most


def _flops(jaxpr: Any) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        inner = _inner(equation)
        repeats = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        total += repeats * sum(_flops(program) for program in inner)
        size = math.prod(getattr(equation.outvars[0].aval, "shape", ())) if equation.outvars else 0
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2.0 * size * math.prod(shape[axis] for axis in contracted)
        elif equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            outputs = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
            total += 2.0 * size * math.prod(kernel) / outputs
    return total
