"""The inversion experiment as one of the published ones; `jaxinv replicate` runs and shows it in a way of its own."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from jaxinv.experiments import inversion
from jaxinv.experiments.claims.estimates import difference
from jaxinv.experiments.claims.rule import Criterion
from jaxinv.experiments.inversion import ARMS, EVALUATIONS, FRESH, PUBLISHED, READINGS, UPDATES, WRITTEN
from jaxinv.experiments.published.experiment import Experiment, Figure, Plan, Runs, Size, Statement


def studies(size: Size) -> Mapping[str, Plan]:
    """Both readings of the published text."""
    made = inversion.studies(chains=size.pick(6, 8), trials=size.pick(20, 100), seed=size.seed)
    return {name: Plan(study, title=READINGS[name], over_steps=name == WRITTEN) for name, study in made.items()}


def chain_means(arm: str, runs: Runs) -> np.ndarray:
    return runs.accuracy(WRITTEN, arm)


GAP = Criterion(
    figure="the difference in accuracy, normal minus inverted, of fresh trials", region="above", margin=0.005
)

EXPERIMENT = Experiment(
    name="inversion",
    question=inversion.QUESTION,
    source=f"{inversion.SOURCE}, the answer on Cross Validated",
    settings="Softmax regression on MNIST, SGD at 0.5, batches of 100, normal against inverted grey values. The text "
    f'says "100 trials in each of which we perform {UPDATES} updates"; the script runs one chain of '
    f"{UPDATES * EVALUATIONS:,} updates and evaluates it {EVALUATIONS} times.",
    studies=studies,
    figures=[Figure(what=arm, value=PUBLISHED[arm], measure=partial(chain_means, arm)) for arm in ARMS],
    statements=[
        Statement(
            says="White on black performs better than black on white.",
            criterion=GAP,
            measure=lambda runs: difference(*(runs.accuracy(FRESH, arm) for arm in ARMS)),
        )
    ],
)
