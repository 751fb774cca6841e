"""Functions and sizes of the user's that do not fit: refused by their shapes, in one line, before anything runs."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxinv as ji
from jaxinv.engine.resolve import resolve
from tests.datasets import tiny

STUDY = ji.Study(dataset=tiny(), steps=2, batch_size=10, trials=1)


def network(apply: Any) -> ji.Model:
    """A model that is this function of (params, state, images)."""

    def init(key: Any, image_shape: Any, classes: int) -> Any:
        return {"weight": jnp.zeros((64, classes))}, {"count": jnp.zeros(())}

    return ji.Model("net", init, lambda params, state, images, *, train, key: apply(params, state, images))


def logits(params: Any, images: Any) -> Any:
    return images.reshape(len(images), -1) @ params["weight"]


REFUSED: list[tuple[str, Any, str]] = [
    ("loss", lambda logits, labels: logits.mean(), "float32 [] for 7 examples is not allowed; give a function that"),
    ("loss", lambda logits, labels: logits, "float32 [7, 4] for 7 examples is not allowed"),
    ("loss", lambda logits, labels: labels, "int32 [7] for 7 examples is not allowed; give a function that returns fl"),
    ("loss", lambda logits, labels: logits.sum(1) + 0j, "complex64 [7] for 7 examples is not allowed"),
    ("loss", lambda logits, labels: None, "NoneType for 7 examples is not allowed"),
    ("loss", lambda logits: logits, "it cannot be traced by JAX (<lambda>() takes 1 positional argument but 2 were g"),
    ("loss", optax.softmax_cross_entropy, "it cannot be traced by JAX ("),
    ("loss", lambda logits, labels: logits.foo, "it cannot be traced by JAX ("),
    ("loss", lambda logits, labels: {}["a"], "it cannot be traced by JAX ('a'); give a function (logits [B, C], lab"),
    ("loss", lambda logits, labels: np.asarray(logits)[:, 0], "it cannot be traced by JAX ("),
    ("augment", lambda key, images: images[:, 1:], "uint8 [7, 7, 8, 1] for images [7, 8, 8, 1] is not allowed"),
    ("augment", lambda key, images: images[0], "uint8 [8, 8, 1] for images [7, 8, 8, 1] is not allowed"),
    ("augment", lambda key, images: images > 0, "bool [7, 8, 8, 1] for images [7, 8, 8, 1] is not allowed; give a fu"),
    ("augment", lambda key, images: None, "NoneType for images [7, 8, 8, 1] is not allowed"),
    ("augment", lambda images: images, "it cannot be traced by JAX (<lambda>() takes 1 positional argument but 2"),
    ("augment", lambda key, images: images if images.sum() else -images, "it cannot be traced by JAX ("),
    ("optimizer", lambda: optax.sgd(0.1), "it cannot be called with a learning rate (too many positional arguments)"),
    ("optimizer", lambda rate: None, "a function that returns None; give one to an optax.GradientTransformation"),
    ("optimizer", lambda rate: 1 / 0, "at learning rate 0.5 it cannot update this model's parameters (division by z"),
    ("model", network(lambda p, s, x: (logits(p, x)[:1], s)), "'net' on images of shape (8, 8, 1) returns logits (1, "),
    ("model", network(lambda p, s, x: (logits(p, x), {})), "'net' on images of shape (8, 8, 1) changes the structure"),
    ("model", network(lambda p, s, x: (logits(p, x.T), s)), "'net' on images of shape (8, 8, 1): "),
    ("model", network(lambda p, s, x: (logits(p["bias"], x), s)), "'net' on images of shape (8, 8, 1): 'bias'"),
    ("model", network(lambda p, s, x: (p.weight, s)), "'net' on images of shape (8, 8, 1): 'dict' object has no attr"),
    ("model", "cnn:2,2,2,2", "images of 8 x 8 are too small to be pooled 4 times; give images of at least 16 x 16"),
    ("train_examples", 201, "201 is more than the 200 training images; give 1 to 200"),
    ("batch_size", 201, "201 is more than the 200 training images; give 1 to 200"),
]


@pytest.mark.parametrize(("field", "value", "says"), REFUSED)
def test_refuses_in_one_line_and_touches_nothing(tmp_path: Path, field: str, value: Any, says: str) -> None:
    changes: Any = {field: value}
    of_arm = STUDY.replace(arms=("normal", ji.Arm("x", **changes)))
    for study, where in ((STUDY.replace(**changes), field), (of_arm, f"arms: x: {field}")):
        with pytest.raises(ji.InputError) as caught:
            ji.run(study, out=tmp_path / "run")
        assert str(caught.value).startswith(f"{where}: {says}")
        assert "\n" not in str(caught.value)
        assert not list(tmp_path.iterdir())


def test_a_fault_of_the_study_is_no_fault_of_its_arms() -> None:
    arms = (ji.Arm("x", model="mlp"), ji.Arm("y", train_examples=5))
    with pytest.raises(ji.InputError, match=r"^loss: float32 \[\] for 7 examples"):
        resolve(STUDY.replace(arms=arms, loss=lambda logits, labels: logits.mean()))
    with pytest.raises(ji.InputError, match=r"^arms: y: batch_size: 10 is more than train_examples=5; give 1 to 5"):
        resolve(STUDY.replace(arms=arms))
    with pytest.raises(ji.InputError, match=r"^batch_size: 10 is more than train_examples=5; give 1 to 5"):
        resolve(STUDY.replace(arms=arms[:1], train_examples=5))


def test_losses_of_half_precision_and_augmentations_to_floats_are_taken() -> None:
    resolve(STUDY.replace(loss=lambda logits, labels: logits.sum(1).astype(jnp.float16)))
    resolve(STUDY.replace(augment=lambda key, images: images * 0.5))
