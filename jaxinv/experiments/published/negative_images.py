"""Do convnets that were trained on normal images recognise their negatives? Hosseini et al. 2017."""

from collections.abc import Mapping
from functools import partial

from jaxinv.arm import Arm
from jaxinv.experiments.claims.rule import Criterion
from jaxinv.experiments.published.experiment import Experiment, Plan, Size, Statement
from jaxinv.experiments.published.measures import Cell, above, most_trials, scores_more

DATASETS = {"mnist": "mnist", "cifar10": "tfds:cifar10"}
OPTIMIZERS = {"adam": 1e-3, "sgd": 0.05}
CHANCE, NEAR = 0.1, 0.05


def studies(size: Size) -> Mapping[str, Plan]:
    """Trained on normal images by either optimizer, tested on normal and on inverted ones."""
    arms = tuple(Arm(name, optimizer=name, learning_rate=rate) for name, rate in OPTIMIZERS.items())
    how = {"model": "hosseini", "arms": arms, "steps": size.pick(15, 80, 11_000), "trials": size.pick(6, 6, 20)}
    made = {name: size.with_few_tests(size.study(dataset, **how)) for name, dataset in DATASETS.items()}
    return {name: Plan(study, test_arms=("normal", "inverted"), title=f"On {name}") for name, study in made.items()}


def statements(name: str) -> list[Statement]:
    """What both versions say of a dataset, and how many networks guess."""
    regular, negative = (Cell(name, "adam", tested) for tested in ("normal", "inverted"))
    lower = f"On {name}, accuracy is significantly lower on negative than on regular images (version 2)."
    random = f"On {name}, accuracy on negative images drops to the level of random classification (version 1)."
    guess = Criterion(figure=f"on {name}, accuracy on negatives minus that of guessing", region="within", margin=NEAR)
    return [
        scores_more(lower, regular, negative, f"on {name}, regular minus negative", margin=NEAR),
        Statement(says=random, criterion=guess, measure=partial(above, negative, CHANCE)),
        *(
            most_trials(
                f"On {name}, most networks trained by {arm} guess on negatives.",
                *(Cell(name, arm, "inverted"), CHANCE - NEAR, CHANCE + NEAR),
                f"on negatives of {name}, trained by {arm}",
                decides=False,
            )
            for arm in OPTIMIZERS
        ),
    ]


EXPERIMENT = Experiment(
    name="negative-images",
    question="Do convnets that were trained on normal images recognise their negatives?",
    source="https://arxiv.org/abs/1703.06857, Hosseini et al. 2017",
    settings="Convolutions of 32 and 64 filters, max pooling, two layers of 200 ReLU units; trained on normal "
    "images, tested on normal ones and on 1 minus them, on MNIST and CIFAR-10. Version 1 of the paper "
    'says that accuracy "drops to the level of random classification", version 2 that it is '
    '"significantly lower".',
    open_settings="Optimizer, updates and initial weights are not known here: Adam at 0.001 and SGD at 0.05, batches of"
    " 100, He normal.",
    shortened="Shortened to 80 updates and 2,000 test images; --full trains for 11,000, 20 epochs of MNIST.",
    cost="about a day on 2 cores, and a quarter of an hour on an H200",
    studies=studies,
    statements=[statement for name in DATASETS for statement in statements(name)],
)
