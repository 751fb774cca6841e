"""Does a network learn nothing from pixels of 0 to 255? TensorFlow's first tutorial, and a question about it."""

from collections.abc import Mapping

from jaxinv.arm import Arm
from jaxinv.experiments.claims.estimates import mean_of
from jaxinv.experiments.claims.rule import Criterion
from jaxinv.experiments.published.experiment import Experiment, Plan, Size, Statement
from jaxinv.experiments.published.measures import Cell, more_dead_units, most_trials, scores_more

DATA, INITIALISERS = "tfds:fashion_mnist", {"Keras's": "mlp_glorot", "He": "mlp_he", "LeCun": "mlp"}


def studies(size: Size) -> Mapping[str, Plan]:
    """Scaled and raw pixels as in the tutorial; raw ones by initial weights; networks whose units are counted."""
    how = {"optimizer": "adam", "learning_rate": 1e-3, "batch_size": 32, "model": "mlp_glorot"}
    both, brief = ("normal", "raw"), size.pick(200, 400, 9_375)
    raw = tuple(Arm(f"raw, {name}", preprocess="raw", model=model) for name, model in INITIALISERS.items())
    long = size.study(DATA, **how, arms=both, steps=size.pick(400, 3_750, 9_375), trials=size.pick(6, 12, 200))
    many = size.study(DATA, **how, arms=raw, steps=brief, trials=size.pick(50, 200))
    few = size.study(DATA, **how, arms=both, steps=brief, trials=size.pick(6, 20, 40))
    return {
        "tutorial": Plan(long, title="Both, as in the tutorial"),
        "initial_weights": Plan(many, title="Raw pixels, by initial weights"),
        "units": Plan(few, keep=("params",), title="Networks whose units are counted"),
    }


def killed(name: str) -> Statement:
    """That most networks with these initial weights end at guessing."""
    says = "Without scaling, accuracy falls to 10%." if name == "Keras's" else f"So it does with {name} weights."
    cell = Cell("initial_weights", f"raw, {name}")
    return most_trials(says, cell, 0, 0.11, f"with raw pixels and {name} weights", decides=name == "Keras's")


OVER = Criterion(figure="the accuracy with scaled pixels", region="above", margin=0.85, unit="%")
DEAD = Criterion(figure="the share of dead hidden units, raw minus scaled,", region="above", margin=0.05, unit="%")

EXPERIMENT = Experiment(
    name="unscaled-pixels",
    question="Does a network learn nothing from pixels of 0 to 255?",
    source="https://stats.stackexchange.com/q/372762, a question on TensorFlow's tutorial",
    settings='Fashion-MNIST, 784-128-10 with ReLU, Adam at 0.001, batches of 32, pixels divided by 255 or not: "an'
    ' accuracy of over 85%, whereas no normalization, my accuracy falls to 10%".',
    open_settings="Epochs are not given (the tutorial had 5, 9,375 updates). Initial weights are Keras's, and varied.",
    shortened="Shortened to 2 epochs for both kinds of pixels, and to 400 updates of 200 trials for each kind of "
    "weights.",
    cost="about 35 minutes on 2 cores, and two on an H200",
    studies=studies,
    statements=[
        Statement(
            says="Scaled to 0 to 1, accuracy is over 85%.",
            criterion=OVER,
            measure=lambda runs: mean_of(runs.accuracy("tutorial", "normal")),
            fails_at=("default", "full"),
        ),
        scores_more("Raw pixels score less.", Cell("tutorial", "normal"), Cell("tutorial", "raw"), "scaled minus raw"),
        *map(killed, INITIALISERS),
        Statement(says="Raw pixels leave hidden units dead.", criterion=DEAD, measure=more_dead_units, decides=False),
    ],
)
