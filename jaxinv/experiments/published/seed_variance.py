"""Is the variance of accuracy over seeds what independent errors would give? Jordan 2023, Picard 2021."""

from collections.abc import Callable, Mapping
from functools import partial

from jaxinv.data import Dataset, load_dataset
from jaxinv.experiments.claims.estimates import Estimate
from jaxinv.experiments.claims.rule import Criterion
from jaxinv.experiments.published.experiment import Experiment, Plan, Runs, Size, Statement
from jaxinv.experiments.published.variance import over_binary_formula, over_independent

DATASETS = {"mnist": "mnist", "fashion_mnist": "tfds:fashion_mnist"}


def studies(size: Size) -> Mapping[str, Plan]:
    """Many networks on all classes, and fewer on two: classes of even and of odd number."""
    how = {"model": "mlp:16", "arms": ("normal",), "learning_rate": 0.2, "batch_size": 50}
    how |= {"steps": size.pick(100, 200, 2_000), "trials": size.pick(500, 10_000)}
    plans = {}
    for name, dataset in DATASETS.items():
        many = size.study(dataset, **how)
        halves = parity(load_dataset(many.dataset, data_dir=size.data_dir))
        two = many.replace(dataset=halves, trials=max(2, many.trials // 5))
        plans[name] = Plan(many, keep=("correct",), title=f"{name}: all classes")
        plans[f"{name}_two"] = Plan(two, keep=("correct",), title=f"{name}: even against odd classes")
    return plans


def parity(data: Dataset) -> Dataset:
    """The same images in two classes: those of even and those of odd number."""
    labels = data.y_train % 2, data.y_test % 2
    name = f"{data.name}, even or odd"
    return Dataset(x_train=data.x_train, y_train=labels[0], x_test=data.x_test, y_test=labels[1], classes=2, name=name)


def near_one(says: str, figure: str, measure: Callable[[Runs], Estimate]) -> Statement:
    """That a ratio of variances is 1, to within a tenth."""
    criterion = Criterion(figure=f"the variance over trials {figure}, minus 1", region="within", margin=0.1)
    return Statement(says=says, criterion=criterion, measure=measure, fails_at=("full",))


def statements(name: str) -> list[Statement]:
    """Both formulas on a dataset."""
    two = f"With two classes of {name}, the variance is the error over twice the number of test images."
    return [
        near_one(
            f"Errors on {name} are independent given the image.",
            *(f"on {name}, divided by that of independent errors", partial(over_independent, name)),
        ),
        near_one(two, f"on two classes of {name}, divided by the formula", partial(over_binary_formula, f"{name}_two")),
    ]


EXPERIMENT = Experiment(
    name="seed-variance",
    question="Is the variance of accuracy over seeds what independent errors would give?",
    source="https://arxiv.org/abs/2304.01910, Jordan 2023; also Picard 2021, arXiv:2109.08203",
    settings="Errors of different trainings are said to be independent given the test image: accuracy then varies "
    "over trials with variance sum p (1 - p) / M², p being the share of trials that have an image right, "
    "M the number of images; and for two classes with the error over 2 M. Published for ResNets on "
    "CIFAR-10 and ImageNet.",
    open_settings="Here 784-16-C with ReLU, SGD at 0.2, batches of 50; the two classes are those of even and of odd "
    "number.",
    shortened="Shortened to 200 updates, far from the convergence of the source's trainings; --full takes 2,000.",
    cost="about 35 minutes on 2 cores, and less than one on an H200",
    studies=studies,
    statements=[statement for name in DATASETS for statement in statements(name)],
)
