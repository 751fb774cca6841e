"""Optimizers that want more than a gradient, or a learning rate that is a number, against optax in a plain loop."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import jaxinv as ji
from jaxinv import registry
from jaxinv.engine.resolve import resolve
from jaxinv.training import keys
from jaxinv.training.optimizers import get_optimizer
from jaxinv.training.shuffling import batch_indices
from tests.datasets import tiny

DATA = tiny(shape=(4, 4, 1), train=2000, test=30, classes=3)
RATES, STEPS, BATCH = (0.5, 0.05), 4, 5
CALLS: list[Any] = []


def warmup(rate: Any) -> optax.GradientTransformation:
    """A schedule that asks whether the rate is positive, so it cannot be traced."""
    CALLS.append(rate)
    return optax.sgd(optax.warmup_cosine_decay_schedule(0.0, rate, 2, 6))


def plateau(rate: Any) -> optax.GradientTransformation:
    return optax.chain(optax.sgd(rate), optax.contrib.reduce_on_plateau(patience=1, factor=0.5))


def line_search(rate: Any) -> optax.GradientTransformation:
    return optax.chain(optax.sgd(10 * rate), optax.scale_by_backtracking_linesearch(max_backtracking_steps=8))


def sharpness_aware(rate: Any) -> optax.GradientTransformation:
    """Of the gradient alone, though its update is no plain one."""
    return optax.contrib.sam(optax.sgd(rate), optax.sgd(0.05))


OPTIMIZERS: dict[str, Any] = {
    "warmup": warmup,
    "lbfgs": "lbfgs",
    "polyak": lambda rate: optax.polyak_sgd(1000 * rate),  # a bound that the steps do not meet
    "plateau": plateau,
    "line_search": line_search,
    "sam": sharpness_aware,
    "every second": lambda rate: optax.MultiSteps(optax.sgd(rate), 2),
}
ARMS = [ji.Arm(name, optimizer=optimizer) for name, optimizer in OPTIMIZERS.items()]
STUDY = ji.Study(
    dataset=DATA, arms=ARMS, learning_rate=RATES, steps=STEPS, eval_every=1, batch_size=BATCH, trials=1, seed=2
)


@pytest.fixture(scope="module")
def results() -> xr.Dataset:
    return ji.run(STUDY, devices=1)


def plain_loop(optimizer: optax.GradientTransformation, extra: bool = True) -> list[float]:
    """The loss on the test images after each update of softmax regression, in float64."""
    x, test = (images.reshape(len(images), -1) / 255.0 for images in (DATA.x_train, DATA.x_test))

    def mean_loss(params: Any, x: Any, labels: Any) -> jax.Array:
        logits = x @ params["weight"].T + params["bias"][None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def step(params: Any, state: Any, x: Any, labels: Any) -> Any:
        value_fn = partial(mean_loss, x=x, labels=labels)
        value, grad = jax.value_and_grad(value_fn)(params)
        more: Any = {"value": value, "grad": grad, "value_fn": value_fn} if extra else {}
        updates, state = optax.with_extra_args_support(optimizer).update(grad, state, params, **more)
        return optax.apply_updates(params, updates), state

    params = {"weight": jnp.zeros((3, 16)), "bias": jnp.zeros(3)}
    state, losses = optimizer.init(params), []
    shuffle = keys.stream(keys.trial_key(keys.root_key(2), 0), "shuffle")
    for n in range(STEPS):
        batch = np.asarray(batch_indices(shuffle, jnp.int32(n), BATCH, len(x)))
        params, state = step(params, state, x[batch], DATA.y_train[batch])
        losses.append(float(mean_loss(params, jnp.asarray(test), jnp.asarray(DATA.y_test))))
    return losses


@pytest.mark.slow
@pytest.mark.parametrize("place", range(len(RATES)))
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_those_of_a_plain_loop(results: xr.Dataset, name: str, place: int) -> None:
    with jax.enable_x64(True):
        expected = plain_loop(get_optimizer(OPTIMIZERS[name])(RATES[place]), extra=name != "sam")
    found = results.test_loss.sel(arm=name).isel(learning_rate=place, trial=0)
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    assert np.ptp(expected) > 1e-3


def test_an_optimizer_that_cannot_take_a_traced_rate_is_made_once_for_each() -> None:
    CALLS.clear()
    groups = resolve(STUDY.replace(arms=[arm for arm in ARMS if arm.name in ("warmup", "lbfgs")])).groups
    assert [(group.positions, group.rates) for group in groups] == [((0,), (0.5,)), ((0,), (0.05,)), ((1,), RATES)]
    assert set(RATES) <= {rate for rate in CALLS if isinstance(rate, float)}


@pytest.mark.slow
def test_one_trial_is_made_for_the_rate_that_its_caller_gives() -> None:
    study = STUDY.replace(arms=("normal",), optimizer=warmup, steps=2, eval_every=None, learning_rate=0.5)
    trial, arm, data = ji.make_trial(study)
    key = keys.trial_key(keys.root_key(2), 0)
    slow, fast = (float(trial(key, rate, arm, data).test_loss[0]) for rate in (0.05, 0.5))
    assert slow == pytest.approx(plain_loop(warmup(0.05))[1], rel=1e-5)
    assert fast == pytest.approx(plain_loop(warmup(0.5))[1], rel=1e-5)
    assert slow != fast


def needs_hessian(gradient: Any, state: Any, params: Any, *, hessian: Any) -> Any:
    return gradient, state


REFUSED: dict[str, tuple[Any, str]] = {
    "lookahead": (lambda rate: optax.lookahead(optax.sgd(rate), 2, 0.5), "optax.lookahead, which keeps two sets of"),
    "inside a chain": (
        lambda rate: optax.chain(optax.clip(1.0), optax.lookahead(optax.sgd(rate), 2, 0.5)),
        "optax.lookahead, which keeps two sets of parameters, is not allowed; give the optimizer that it wraps",
    ),
    "of gradients of each example": (
        lambda rate: optax.stateless(lambda gradient, params: jax.tree.map(lambda leaf: leaf.mean(axis=0), gradient)),
        "its updates have not the shapes of the parameters; give an optimizer that takes the gradient of a batch's m",
    ),
    "another argument": (
        lambda rate: optax.GradientTransformationExtraArgs(lambda params: (), needs_hessian),  # pyright: ignore
        "at learning rate 0.5 it cannot update this model's parameters (",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_by_name(name: str) -> None:
    optimizer, says = REFUSED[name]
    with pytest.raises(ji.InputError) as caught:
        resolve(STUDY.replace(arms=("normal", ji.Arm("x", optimizer=optimizer))))
    assert str(caught.value).startswith(f"arms: x: optimizer: {says}")


@pytest.mark.parametrize("name", registry.OPTIMIZERS)
def test_every_name_is_an_optimizer_of_a_traced_rate(name: str) -> None:
    (treatment,) = resolve(STUDY.replace(arms=("normal",), optimizer=name)).treatments
    assert treatment.traced
