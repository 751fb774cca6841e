"""From a group of arms to the program that trains them."""

from dataclasses import replace

from jaxinv.engine.costs import costs
from jaxinv.engine.devices import Device
from jaxinv.engine.keeping import Keeping, transfers
from jaxinv.engine.program import ProgramSpec
from jaxinv.engine.resolve import ArmGroup, ResolvedStudy
from jaxinv.engine.trial_batch import plan_evaluation
from jaxinv.models import targets
from jaxinv.training.inputs import Data

UNROLLED_FLOPS = 1e6  # of an image's update; beyond, a trip's start is nothing, and several updates only compile longer


def program_spec(
    resolved: ResolvedStudy,
    keeping: Keeping,
    group: ArmGroup,
    devices: tuple[Device, ...],
    trial_batch: int,
    data: Data,
) -> tuple[ProgramSpec, Data]:
    """What the program of a group is compiled for, and all that it reads.

    Args:
      resolved, keeping: the study, and what is kept of each trial.
      group: whose program.
      devices: that share the trials.
      trial_batch: trials that each device works on in one call.
      data: what the group's trials read, as `ResolvedStudy.data` gives it.

    Returns:
      The specification; and `data` with the test images under further preprocessings, in host memory where they are not
      those of `data`.
    """
    plan = plan_evaluation(group, devices[0], trial_batch)
    target = targets.target_of(devices[0].platform)
    if costs(group.trial.model).update_flops > UNROLLED_FLOPS:
        target = replace(target, unroll=1)
    folds, tested = transfers(resolved, keeping, group, plan.tile, data.test, target)
    spec = ProgramSpec(
        trial=keeping.of(group.trial, folds),
        arms=len(group.positions),
        rates=len(group.rates),
        one_scale=group.affine_for(target).scale.shape[1:] == (1, 1, 1),
        trial_batch=trial_batch,
        devices=devices,
        target=target,
        wide_evaluation=plan.wide,
        precision=resolved.study.precision,
    )
    return spec, data._replace(transfers=tested)
