"""A book in which scaling pixels to 0 to 1 makes a network worse: Python Deep Learning.

Chosen because it says the opposite of all other sources on input scaling, in numbers, of a network small enough to be
trained as published. If it replicates, "scale your inputs" is a statement about the learning rate.
"""

from collections.abc import Mapping
from functools import partial

from jaxinv.arm import Arm
from jaxinv.experiments.claims.rule import Criterion
from jaxinv.experiments.published.experiment import Experiment, Plan, Size, Statement
from jaxinv.experiments.published.measures import Cell, above, scores_more

PUBLISHED = {"raw": ("of 0 to 255", "around", 0.965), "normal": ("of 0 to 1", "just above", 0.92)}
FASTER = "normal, rate 0.5"


def studies(size: Size) -> Mapping[str, Plan]:
    """Both kinds of images at Keras's learning rate, and scaled ones at a larger one."""
    arms = ("raw", "normal", Arm(FASTER, preprocess="normal", learning_rate=0.5))
    steps = size.pick(1_650, 16_500)
    how = {"model": "mlp_sigmoid:400", "learning_rate": 0.01, "arms": arms, "steps": steps, "trials": 6}
    return {"epochs": Plan(size.study("mnist", **how, eval_every=steps // 15), title="Raw and scaled images")}


def near(arm: str) -> Statement:
    """That accuracy is what was published, to within a point."""
    pixels, how, published = PUBLISHED[arm]
    figure = f"the accuracy with pixels {pixels} minus the published {published:.1%}"
    return Statement(
        says=f"With pixels {pixels}, accuracy is {how} {published:.1%}.",
        criterion=Criterion(figure=figure, region="within", margin=0.01),
        measure=partial(above, Cell("epochs", arm), published),
        fails_at=("default", "full"),
    )


RAW, SCALED, FASTER_CELL = (Cell("epochs", arm) for arm in ("raw", "normal", FASTER))

EXPERIMENT = Experiment(
    name="scaling-hurts",
    question="Can scaling pixels to 0 to 1 make a network worse?",
    source="https://www.packtpub.com/product/python-deep-learning/9781786464453, Zocca et al. 2017, chapter 5",
    settings='784-400-10 on MNIST, batches of 100, 30 epochs: "around 96.5% accuracy" with pixels of 0 to 255, and'
    ' "a poorer accuracy, just above 92%" once they are scaled.',
    open_settings="The passage refers to an earlier chapter for activation and optimizer; here sigmoid units, SGD at "
    "0.01 and weights as Keras draws them. The rate of the scaled images is varied. 55,000 training "
    "images stand for 60,000.",
    studies=studies,
    statements=[
        *map(near, PUBLISHED),
        scores_more("Scaling makes accuracy poorer.", RAW, SCALED, "raw minus scaled"),
        scores_more(
            "At a learning rate of 0.5, scaled pixels do better than raw ones at 0.01.",
            *(FASTER_CELL, RAW, "scaled at 0.5 minus raw at 0.01"),
            decides=False,
        ),
    ],
)
