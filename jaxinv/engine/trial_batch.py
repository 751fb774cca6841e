"""How many trials at once: from the shapes of a study and the memory of a device, before anything is compiled."""

import math
from typing import Any, NamedTuple

import jax

from jaxinv.engine.costs import costs
from jaxinv.engine.resolve import ArmGroup, ResolvedStudy
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


class TrialBatch(NamedTuple):
    """How one compiled call is made up, and why."""

    size: int  # trials in one call on one device
    tile: int  # test images evaluated at a time
    wide_evaluation: bool  # evaluate a device's trials in one product
    why: str


def choose_trial_batch(
    resolved: ResolvedStudy, devices: tuple[Device, ...], chunk: int | None, processes: int = 1
) -> TrialBatch:
    """Trials per device and call, and the length of an evaluation tile, for a study on some devices.

    On CPUs the caches decide; elsewhere memory does: what a trial carries (weights, optimizer, gradients) and what its
    evaluation holds, times arms and learning rates.
    """
    study = resolved.study
    networks = len(study.arms) * len(study.learning_rates)
    weights = sum(4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(resolved.parameters))
    per_image = costs(resolved.model).activation_bytes
    cpu = devices[0].platform == "cpu"
    hidden = per_image > 4 * math.prod(resolved.model.image_shape)  # larger than the image itself: convolutions
    wide = not (cpu and hidden)
    share = -(-study.trials // (len(devices) * processes))  # more than this on a device would be padding
    brief = max(1, int(trials_a_second(resolved, devices[0])))
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
    return TrialBatch(per_device, tile, wide, why)


def store_block_length(resolved: ResolvedStudy, devices: tuple[Device, ...], call: int, processes: int = 1) -> int:
    """Trials in one block of the store: a whole number of calls, about two seconds of work, at most 4,096 trials.

    (One call, where that is more: many trials a call on many devices.)

    Blocks are what processes divide among themselves, so each gets equally many as far as the calls allow.
    """
    share = -(-resolved.study.trials // processes)
    most = max(1, int(min(2 * trials_a_second(resolved, devices[0]) * len(devices), 4096)) // call)
    rounds = -(-share // (most * call))
    return min(most, -(-share // (rounds * call))) * call


def trials_a_second(resolved: ResolvedStudy, device: Device) -> float:
    """A rough guess, within a few times, from arithmetic alone."""
    work = flops(resolved) + (STEP_FLOPS * resolved.study.steps if device.platform == "cpu" else 0)
    return SECONDS_FLOPS.get(device.platform, ACCELERATOR_FLOPS) / work


def flops(resolved: ResolvedStudy) -> float:
    """Arithmetic of one trial under all arms and learning rates."""
    study = resolved.study
    update = costs(resolved.model).update_flops
    training = len(study.arms) * study.steps * study.batch_size * update
    evaluations = sum(len(group.positions) * _evaluation_flops(resolved, group) for group in resolved.groups)
    return len(study.learning_rates) * (training + len(study.eval_steps) * evaluations)


def _evaluation_flops(resolved: ResolvedStudy, group: ArmGroup) -> float:
    """Arithmetic of one evaluation of one network."""
    if group.pixel_order is None:
        return len(resolved.dataset.x_test) * costs(resolved.model).forward_flops
    return sum(
        len(part.images) * costs(resolved.model.of_pixels(part.width)).forward_flops
        for part in group.pixel_order.groups
    )


def free_bytes(device: Device) -> int:
    """Memory that is free on a device now; for a CPU, the machine's."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return available_bytes()
