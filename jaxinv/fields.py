"""The fields of a study and of an arm: what each may be, checked one by one. Free of JAX."""

import os
from array import array  # of float32; NumPy would take the command line 0.1 s to start
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jaxinv import registry
from jaxinv.errors import InputError, brief, number, unknown, whole

MAX_SEED = 2**32 - 1
MIN_RATE, MAX_RATE = 1.2e-38, 1e38  # float32 holds little less, and little more
MAX_EXAMPLES = 2**31 - 1  # positions in the stream of examples are 32-bit integers


def check_dataset(field: str, value: Any) -> Any:
    """A name, the path of an `.npz`, or a `ji.Dataset`."""
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(value, str):
        named = value in registry.DATASETS and "<" not in value
        if not named and not value.startswith("tfds:") and not value.lower().endswith(".npz"):
            raise unknown(field, value, registry.DATASETS)
    elif not hasattr(value, "x_train"):
        raise InputError(f"{field}: {brief(value)} is not allowed; give a name, the path of an .npz, or a ji.Dataset")
    return value


def check_preprocess(field: str, value: Any) -> Any:
    """A name, a composition of names, without its spaces, or a `ji.Preprocess`."""
    if isinstance(value, str):
        return "+".join(registry.component_names(field, value))
    if not (hasattr(value, "fit") and hasattr(value, "apply")):
        raise InputError(f"{field}: {brief(value)} is not allowed; give a name or a ji.Preprocess")
    return value


def check_model(field: str, value: Any) -> Any:
    """A name, which may end in ":" and numbers (`mlp:128,64`), or a `ji.Model`."""
    if isinstance(value, str):
        return registry.model_name(field, value)
    if not (hasattr(value, "init") and hasattr(value, "apply") and hasattr(value, "name")):
        raise InputError(f"{field}: {brief(value)} is not allowed; give a name or a ji.Model")
    return value


def named_or_function(names: Mapping[str, str], what: str) -> Callable[[str, Any], Any]:
    """The check of a field that takes one of some names or a function."""

    def check(field: str, value: Any) -> Any:
        if isinstance(value, str):
            if value not in names:
                raise unknown(field, value, names)
        elif not callable(value):
            raise InputError(f"{field}: {brief(value)} is not allowed; give a name or a function {what}")
        return value

    return check


check_optimizer = named_or_function(registry.OPTIMIZERS, "of the learning rate")
check_loss = named_or_function(registry.LOSSES, "(logits [B, C], labels [B]) -> [B]")
check_augment = named_or_function(registry.AUGMENTATIONS, "(key, images [B, H, W, K]) -> images")


def check_learning_rate(field: str, value: Any) -> float | tuple[float, ...]:
    """A positive number, or a sequence of different ones."""
    several = as_tuple(value)
    if several is None and isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        raise InputError(f"{field}: {value!r} is not allowed; give a number or a sequence of numbers")
    rates = tuple(number(field, rate) for rate in ((value,) if several is None else several))
    if not rates:
        raise InputError(f"{field}: none given; give one or more positive numbers")
    for rate in rates:
        if not 0 < rate <= MAX_RATE:
            raise InputError(f"{field}: {rate} is not allowed; give a positive number up to {MAX_RATE:.0e}")
        if rate < MIN_RATE:
            raise InputError(f"{field}: {rate} is 0 in float32; give a number from {MIN_RATE}")
    if len(set(rates)) < len(rates):
        raise InputError(f"{field}: {rates} has a value twice; give each once")
    if len(set(array("f", rates))) < len(rates):
        raise InputError(f"{field}: {rates} has two values that are the same in float32; give each once")
    return rates[0] if several is None else rates


def check_count(field: str, value: Any) -> int:
    return whole(field, value, 1, MAX_EXAMPLES)


def check_illumination(field: str, value: Any) -> float:
    strength = number(field, value)
    if not 0.0 <= strength < 1.0:
        raise InputError(f"{field}: {strength} is not allowed; give a number from 0 up to, but not, 1")
    return strength


def check_precision(field: str, value: Any) -> Any:
    if value not in ("exact", "fast"):
        raise unknown(field, value, ("exact", "fast"))
    return value


def check_batch_stats(field: str, value: Any) -> Any:
    if value not in ("running", "recomputed"):
        raise unknown(field, value, ("running", "recomputed"))
    return value


def check_label_noise(field: str, value: Any) -> float:
    share = number(field, value)
    if not 0.0 <= share <= 1.0:
        raise InputError(f"{field}: {share} is not allowed; give a number from 0 to 1")
    return share


def optional(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """The check of a field that may be None."""
    return lambda field, value: None if value is None else check(field, value)


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "dataset": check_dataset,
    "model": check_model,
    "optimizer": check_optimizer,
    "learning_rate": check_learning_rate,
    "loss": check_loss,
    "augment": optional(check_augment),
    "batch_size": check_count,
    "train_examples": optional(check_count),
    "label_noise": check_label_noise,
    "batch_stats": check_batch_stats,
    "steps": check_count,
    "eval_every": optional(lambda field, value: whole(field, value, 1)),
    "trials": check_count,
    "seed": lambda field, value: whole(field, value, 0, MAX_SEED),
    "illumination": check_illumination,
    "precision": check_precision,
}
"""(field, value) -> the value as a study keeps it, for each field; InputError for a value that makes no sense."""


def as_tuple(value: Any) -> tuple[Any, ...] | None:
    """The items of any sequence or array; None for text, and for what has no order or is read once (sets, generators).

    >>> as_tuple([0.1, 1]), as_tuple("normal"), as_tuple(0.5), as_tuple({0.1, 1})
    ((0.1, 1), None, None, None)
    """
    value = value.tolist() if hasattr(value, "tolist") else value  # of NumPy, JAX or pandas
    if isinstance(value, Sequence):
        return None if isinstance(value, (str, bytes)) else tuple(value)
    if hasattr(value, "__len__") and hasattr(value, "__getitem__") and not hasattr(value, "keys"):
        return tuple(value[index] for index in range(len(value)))
    return None
