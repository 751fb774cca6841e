"""A job done by jaxinv and by its peers in one process: first they must agree, then times, ratios and the floor."""

from collections.abc import Callable, Mapping, Sequence

import jaxinv as ji
from benchmarks import ours
from benchmarks.harness import Contender, check_agreement, check_means, measure, peer_contenders, ratio
from benchmarks.jobs import Job, arithmetic
from benchmarks.machine import Ceiling
from benchmarks.report import Part, seconds

AGREE_TRIALS, AGREE_STEPS = 8, 3
TOLERANCE = 0.002  # in the accuracy of one trial after a few steps: rounding turns the odd image over


def run(
    study: ji.Study,
    *,
    repeats: int,
    goals: Mapping[str, float],
    floor_goal: float | None = None,
    sizes: Sequence[int],
    only: Sequence[str] = (),
    say: Callable[[str], None],
) -> Part:
    """Measure a study.

    Args:
      goals: by peer, how many times as long as jaxinv it should take at least.
      floor_goal: how many times the arithmetic floor jaxinv should take at most.
      sizes: of the matrix products that the floor is measured with.
      only: names of peers; none: all.

    Raises:
      Disagreement: somebody did other work than the rest.
    """
    job = ours.job_of(study)
    arms = [arm.name for arm in job.arms]
    short = study.trials <= AGREE_TRIALS and study.steps <= AGREE_STEPS
    differences = {} if short else _agreement(study, job, only, say)
    us = Contender("jaxinv", ours.TITLE, lambda: ours.prepare(study))
    peers = peer_contenders(job, only)
    ceiling = Ceiling(sizes)
    measure([us, *peers], repeats, say, ceiling.sample)
    if short:  # the job is itself what the agreement is checked on
        differences = check_agreement([us, *peers], TOLERANCE)
    check_means([us, *peers], arms)
    work = arithmetic(job)
    floor_s = work.total / ceiling.best / 1e9
    taking_part = [peer for peer in peers if not peer.skipped]
    ratios = [
        ratio(f"{peer.title} / jaxinv", peer.samples_s, us.samples_s, at_least=goals.get(peer.name))
        for peer in taking_part
    ]
    ratios.append(ratio("jaxinv / arithmetic floor", us.samples_s, [floor_s] * repeats, at_most=floor_goal))
    shape = f"{job.trials} trials x {len(arms)} arm{'s' * (len(arms) > 1)} x {job.steps} updates of {job.batch_size}"
    return Part(
        title=f"{job.model}: {shape}, then {len(job.x_test):,} test images each",
        contenders=[us, *peers],
        ratios=ratios,
        arms=arms,
        facts={
            "job": _facts(job),
            "agreement": {"steps": AGREE_STEPS, "tolerance": TOLERANCE, "largest_difference": differences},
            "products": {"best_gflops": ceiling.best, "samples_gflops": ceiling.gflops},
            "floor": {
                "gflop": work.total / 1e9,
                "training_gflop": work.training / 1e9,
                "evaluation_gflop": work.evaluation / 1e9,
                "seconds": floor_s,
            },
        },
        notes=[
            f"Arithmetic floor: {work.total / 1e9:.1f} GFLOP at {ceiling.best:.0f} GFLOP/s, the best matrix product "
            f"here: {seconds(floor_s)}."
        ],
    )


def _facts(job: Job) -> dict[str, object]:
    facts: dict[str, object] = {"model": job.model, "arms": [arm.name for arm in job.arms], "trials": job.trials}
    facts |= {"steps": job.steps, "batch_size": job.batch_size, "learning_rate": job.learning_rate}
    return facts | {"test_images": len(job.x_test)}


def _agreement(study: ji.Study, job: Job, only: Sequence[str], say: Callable[[str], None]) -> dict[str, float]:
    trials, steps = min(study.trials, AGREE_TRIALS), min(study.steps, AGREE_STEPS)
    say(f"checking that all agree on {trials} trials of {steps} updates")
    short = study.replace(trials=trials, steps=steps)
    us = Contender("jaxinv", ours.TITLE, lambda: ours.prepare(short))
    contenders = [us, *peer_contenders(job.shortened(trials, steps), only)]
    measure(contenders, 0)
    return check_agreement(contenders, TOLERANCE)
