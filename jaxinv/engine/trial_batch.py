"""How many trials at once: from the shapes of a study and the memory of a device, before anything is compiled."""

import math
from typing import NamedTuple

import jax

from jaxinv.engine.costs import costs
from jaxinv.engine.devices import Device, Hardware
from jaxinv.engine.resolve import ArmGroup, ResolvedStudy
from jaxinv.utils.memory import available_bytes

CPU_TRIALS = 25  # per call; more gain nothing once their evaluation is one wide product
CPU_TILE = 250  # test images evaluated at a time: at 125 to 1,250 equally fast
CPU_TILE_BYTES = 6 << 20  # of the largest value of a tile: a second and a third one are in the caches with it
ACCELERATOR_TILE = 10_000
ACCELERATOR_TILE_BYTES = 1 << 30  # of the largest value of a tile, over all networks of a call
ACCELERATOR_TILES = 3  # such values at a time
SHARE = 0.6  # of the free memory
SECONDS_FLOPS = {"cpu": 2e11}  # about a second's work of one device: how long a call may take, and Ctrl-C has to wait
ACCELERATOR_FLOPS = 2e13
BLOCKS_A_WORKER = 12
STEP_FLOPS = 5e6  # what a CPU could compute in the time that it takes to start one more update


class TrialBatch(NamedTuple):
    """How many trials one call on one device holds, and why."""

    size: int
    why: str


class EvaluationPlan(NamedTuple):
    """How a group's networks are evaluated."""

    tile: int  # test images at a time
    wide: bool  # all of a device's trials in one product, rather than each after its training


def choose_trial_batch(resolved: ResolvedStudy, hardware: Hardware, chunk: int | None) -> TrialBatch:
    """Trials per device and call, for a study on some hardware.

    On CPUs the caches decide; elsewhere memory does: what a trial carries (weights, optimizer, gradients) and what its
    evaluation holds, times arms and learning rates. How many workers share the run does not: rounding depends on the
    batch, and the results of a shared run are those of any other.
    """
    study, cpu, device = resolved.study, hardware.cpu, hardware.devices[0]
    share = -(-study.trials // hardware.units)  # more than this in a call would be padding
    brief = max(1, int(trials_a_second(resolved, device)))
    each = sum(_trial_bytes(group, plan_evaluation(group, device, share), cpu=cpu) for group in resolved.groups)
    free = free_bytes(device)
    room = SHARE * free / hardware.calls if cpu else SHARE * free - ACCELERATOR_TILES * ACCELERATOR_TILE_BYTES
    fits = max(1, int(room / each))
    if chunk is not None:
        return TrialBatch(-(-min(chunk, study.trials) // hardware.units), f"--chunk {chunk}")
    limits = {
        "memory": fits,
        "time, to stop soon": brief,
        "caches": CPU_TRIALS if cpu else share + 1,
        "trials": share,
    }
    limit = min(limits, key=lambda name: limits[name])
    calls = -(-share // min(CPU_TRIALS if cpu else 100_000, fits, brief))
    why = f"limited by {limit}; {each / 2**20:.1f} MiB a trial, {free / 2**30:.1f} GiB free"
    return TrialBatch(-(-share // calls), why)


def fit_to_memory(batch: TrialBatch, needed: int, device: Device) -> TrialBatch:
    """A smaller batch of trials, where a call needs more than is free by the compiler's own count; before it runs.

    Args:
      batch: as chosen from shapes.
      needed: bytes on one device, of all programs of a call.
      device: its memory counts.
    """
    free = free_bytes(device)
    if needed <= free or batch.size == 1:
        return batch
    each = f"{needed / batch.size / 2**20:.1f} MiB a trial as compiled, {free / 2**30:.1f} GiB free"
    return TrialBatch(max(1, int(batch.size * SHARE * free / needed)), f"limited by memory; {each}")


def plan_evaluation(group: ArmGroup, device: Device, trials: int) -> EvaluationPlan:
    """The length of a group's evaluation tiles, for so many trials on a device."""
    model = group.trial.model
    if device.platform != "cpu":
        all_networks = group.networks * trials * costs(model).network_bytes
        return EvaluationPlan(max(1, min(ACCELERATOR_TILE, ACCELERATOR_TILE_BYTES // all_networks)), True)
    per_image = costs(model).activation_bytes
    hidden = per_image > 4 * math.prod(model.image_shape)  # larger than the image itself: convolutions
    copies = group.networks if hidden else 1  # the images themselves are there once for all networks
    return EvaluationPlan(max(1, min(CPU_TILE, CPU_TILE_BYTES // (per_image * copies))), not hidden)


def _trial_bytes(group: ArmGroup, plan: EvaluationPlan, *, cpu: bool) -> int:
    """Memory that one trial of a group needs; on accelerators, beside the tiles of its evaluation."""
    trial, cost = group.trial, costs(group.trial.model)
    weights = sum(4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(group.parameters))
    if cpu:
        activations, batch = cost.activation_bytes * (3 * trial.batch_size + (plan.tile if plan.wide else 0)), 0
    else:
        activations = cost.network_bytes * 3 * trial.batch_size
        batch = trial.batch_size * math.prod(trial.model.image_shape) * 6  # as stored, and in float32
    networks = group.networks * (6 * weights + activations)
    return networks + batch + 4 * trial.batch_size * trial.eval_every  # and which examples its batches hold


def store_block_length(resolved: ResolvedStudy, hardware: Hardware, size: int, workers: int = 1) -> int:
    """Trials in one block of the store: a whole number of calls, about two seconds of work, at most 4,096 trials.

    (One call on each core or accelerator, where that is more.)

    Blocks are what workers divide among themselves. Each gets several, where calls are short enough, so that those who
    come late or are fast find something to do.

    Args:
      resolved: the study.
      hardware: of this worker.
      size: trials in a batch, as `choose_trial_batch` says.
      workers: how many share the run.
    """
    trials, call = resolved.study.trials, size * hardware.units
    most = max(1, int(min(2 * trials_a_second(resolved, hardware.devices[0]) * hardware.units, 4096)) // call)
    rounds = -(-trials // (most * call))
    block = min(most, -(-trials // (rounds * call))) * call
    if workers == 1:
        return block
    step = size if hardware.cpu else call  # what one call computes
    return min(block, max(1, trials // (BLOCKS_A_WORKER * workers * step)) * step)


def trials_a_second(resolved: ResolvedStudy, device: Device) -> float:
    """A rough guess, within a few times, from arithmetic alone."""
    work = flops(resolved)
    if device.platform == "cpu":
        work += STEP_FLOPS * resolved.study.steps * len({group.trial for group in resolved.groups})
    return SECONDS_FLOPS.get(device.platform, ACCELERATOR_FLOPS) / work


def flops(resolved: ResolvedStudy) -> float:
    """Arithmetic of one trial under all arms and learning rates."""
    evaluations = len(resolved.study.eval_steps)
    return sum(
        group.networks * (_training_flops(group) + evaluations * _evaluation_flops(group)) for group in resolved.groups
    )


def _training_flops(group: ArmGroup) -> float:
    """Arithmetic of training one network."""
    return group.trial.steps * group.trial.batch_size * costs(group.trial.model).update_flops


def _evaluation_flops(group: ArmGroup) -> float:
    """Arithmetic of one evaluation of one network."""
    model = group.trial.model
    if group.pixel_order is None:
        return len(group.images[1]) * costs(model).forward_flops
    return sum(len(part.images) * costs(model.of_pixels(part.width)).forward_flops for part in group.pixel_order.groups)


def free_bytes(device: Device) -> int:
    """Memory that is free on a device now; for a CPU, the machine's."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return available_bytes()
