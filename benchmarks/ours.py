"""jaxinv as one of the contenders: the only module here that knows how a study is run and what its trials see."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxinv as ji
from benchmarks.jobs import ARMS, Job
from benchmarks.peers import Run
from jaxinv.data import load_dataset
from jaxinv.engine import setup
from jaxinv.models import get_model
from jaxinv.training import keys, shuffling

TITLE = "jaxinv"


def configure() -> None:
    """As the command line does, but with no programs kept from earlier runs; before JAX is first used."""
    setup.configure(cache=False)


def small_mnist() -> ji.Dataset:
    """2,000 training and 500 test images, for runs that only have to work."""
    full = load_dataset("mnist")
    return ji.Dataset(
        x_train=full.x_train[:2000],
        y_train=full.y_train[:2000],
        x_test=full.x_test[:500],
        y_test=full.y_test[:500],
        name="mnist_small",
    )


def prepare(study: ji.Study) -> Run:
    """`ji.run`, from the study to accuracies [A, T]; nothing is kept between calls but what JAX has compiled."""

    def run() -> np.ndarray:
        return ji.run(study, progress=False).accuracy.values[:, 0, :, -1]

    return run


def job_of(study: ji.Study) -> Job:
    """What the study's trials start from and see, drawn from its own streams, for others to train from."""
    dataset = load_dataset(study.dataset)  # pyright: ignore[reportArgumentType]
    model = get_model(study.model)
    assert isinstance(study.learning_rate, float)

    def trial(number: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        key = keys.trial_key(keys.root_key(study.seed), number)
        shuffle, steps = keys.stream(key, "shuffle"), jnp.arange(study.steps)
        count = len(dataset.x_train)
        batches = jax.vmap(lambda step: shuffling.batch_indices(shuffle, step, study.batch_size, count))(steps)
        parameters, _ = model.init(keys.stream(key, "init"), dataset.image_shape, dataset.classes)
        return batches, parameters

    batches, parameters = jax.jit(jax.vmap(trial))(jnp.arange(study.trials, dtype=jnp.uint32))
    weights = {f"{layer}.{name}": np.asarray(v) for layer, part in parameters.items() for name, v in part.items()}
    return Job(
        model=model.name,
        x_train=dataset.x_train,
        y_train=dataset.y_train,
        x_test=dataset.x_test,
        y_test=dataset.y_test,
        batches=np.asarray(batches),
        arms=tuple(ARMS[name] for name in study.arm_names),
        learning_rate=study.learning_rate,
        initial={} if model.name == "softmax" else weights,
    )
