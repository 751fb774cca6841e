"""`Study`: everything that defines a run, in one frozen value that checks itself, prints as JSON and has a hash."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jaxinv import registry
from jaxinv.errors import InputError, number, unknown, whole
from jaxinv.utils import fingerprint

if TYPE_CHECKING:
    import optax

    from jaxinv.data import Dataset
    from jaxinv.models import Model
    from jaxinv.preprocess import Preprocess

MAX_SEED = 2**32 - 1
MAX_RATE = 1e38  # float32 holds little more
MAX_EXAMPLES = 2**31 - 1  # positions in the stream of examples are 32-bit integers


@dataclass(frozen=True, kw_only=True)
class Study:
    """What to run: `trials` independent trainings of one model under each arm and learning rate, paired trial by trial.

    Trial t of every arm and learning rate starts from the same weights and sees the same batches.

    Attributes:
      dataset: "mnist" (bundled), "tfds:<name>", the path of an `.npz`, or a `ji.Dataset`.
      arms: a sequence of preprocessings to compare: names, compositions such as "inverted+pixel_mean", `ji.Preprocess`.
      model: a name or a `ji.Model`.
      optimizer: a name of optax's, or any function `learning_rate -> optax.GradientTransformation`.
      learning_rate: one value, or a sequence of them: an axis of the results.
      batch_size: B, examples a step.
      steps: S, updates a trial.
      eval_every: evaluate on the whole test set every so many steps (it divides `steps`); None: at the end only.
      trials: T, how many trials.
      seed: root of all randomness, 0 to 2³²-1.
      illumination: strength in [0, 1) of a random gain and offset given to each image, before any arm sees it.
      precision: "exact" (float32 products) or "fast" (TF32 or bfloat16 products where the hardware has them).

    Raises:
      InputError: a field has a value that makes no sense; the message names it and says what is allowed.

    >>> Study(arms=("normal", "inverted+pixel_mean"), learning_rate=(0.1, 0.5)).learning_rates
    (0.1, 0.5)
    >>> Study(trials=0)
    Traceback (most recent call last):
    jaxinv.errors.InputError: trials: 0 is not allowed; give a whole number from 1 to 2147483647
    """

    dataset: "str | os.PathLike[str] | Dataset" = "mnist"
    arms: "tuple[str | Preprocess, ...]" = ("normal", "inverted")
    model: "str | Model" = "softmax"
    optimizer: "str | Callable[[Any], optax.GradientTransformation]" = "sgd"
    learning_rate: float | tuple[float, ...] = 0.5
    batch_size: int = 100
    steps: int = 50
    eval_every: int | None = None
    trials: int = 100
    seed: int = 0
    illumination: float = 0.0
    precision: Literal["exact", "fast"] = "exact"

    def __post_init__(self) -> None:
        for field, check in CHECKS.items():
            object.__setattr__(self, field, check(field, getattr(self, field)))
        if self.eval_every is not None:
            whole("eval_every", self.eval_every, 1, self.steps)
            if self.steps % self.eval_every:
                raise InputError(
                    f"eval_every: {self.eval_every} does not divide steps={self.steps}; give a divisor of it"
                )
        if self.steps * self.batch_size > MAX_EXAMPLES:
            raise InputError(
                f"steps: {self.steps} steps of batch_size={self.batch_size} draw more than {MAX_EXAMPLES} examples "
                "a trial; lower one of them"
            )

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """The learning-rate axis, also where `learning_rate` is a single value."""
        return self.learning_rate if isinstance(self.learning_rate, tuple) else (self.learning_rate,)

    @property
    def arm_names(self) -> tuple[str, ...]:
        """The arm axis: each arm's name."""
        return arm_names(self.arms)

    @property
    def eval_steps(self) -> tuple[int, ...]:
        """The step axis: how many updates have been made at each evaluation."""
        every = self.eval_every or self.steps
        return tuple(range(every, self.steps + 1, every))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; an object of the user's own stands there by its name, marked as such."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    def to_json(self) -> str:
        """`to_dict` as text, keys in a fixed order.

        >>> Study.from_json(Study(trials=7).to_json()) == Study(trials=7)
        True
        """
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Study":
        """The study that `to_dict` came from.

        Raises:
          InputError: a field is not known or makes no sense; or an object of the user's own, which JSON only names.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name, value in fields.items():
            if name not in known:
                raise unknown("study", name, known)
            for item in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(item, dict):
                    raise InputError(f"{name}: {item} names an object of your own; build the Study in Python with it")
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> "Study":
        """The study that `to_json` printed.

        Raises:
          InputError: text that is no JSON object, and as for `from_dict`.
        """
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"study: the text is not JSON ({error}); give a JSON object") from None
        if not isinstance(fields, dict):
            raise InputError(f"study: {type(fields).__name__} is not allowed; give a JSON object")
        return cls.from_dict(fields)

    @property
    def hash(self) -> str:
        """SHA-256 of all fields but `trials`: two runs with one hash differ only in how many trials they have.

        >>> Study(trials=10).hash == Study(trials=20).hash != Study(seed=1).hash
        True
        """
        return study_hash(self.to_dict())

    def replace(self, **changes: Any) -> "Study":
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


def study_hash(fields: Mapping[str, Any]) -> str:
    """`Study.hash`, from what `Study.to_dict` gave: objects of the user's own are only named there."""
    kept = {name: value for name, value in fields.items() if name != "trials"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def check_dataset(field: str, value: Any) -> Any:
    """A name, the path of an `.npz`, or a `ji.Dataset`."""
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(value, str):
        named = value in registry.DATASETS and "<" not in value
        if not named and not value.startswith("tfds:") and not value.lower().endswith(".npz"):
            raise unknown(field, value, registry.DATASETS)
    elif not hasattr(value, "x_train"):
        raise InputError(f"{field}: {value!r} is not allowed; give a name, the path of an .npz, or a ji.Dataset")
    return value


def check_arms(field: str, value: Any) -> tuple[Any, ...]:
    """A sequence of preprocessings whose names differ."""
    arms = as_tuple(value)
    if arms is None:
        raise InputError(f"{field}: {value!r} is not allowed; give a sequence of names or ji.Preprocess objects")
    if not arms:
        raise InputError(f"{field}: none given; give one or more")
    arms = tuple(check_preprocess(field, arm) for arm in arms)
    names = arm_names(arms)
    if len(set(names)) < len(names):
        raise InputError(f"{field}: {', '.join(names)} has a name twice; give each once")
    return arms


def check_preprocess(field: str, value: Any) -> Any:
    """A name, a composition of names, without its spaces, or a `ji.Preprocess`."""
    if isinstance(value, str):
        return "+".join(registry.component_names(field, value))
    if not (hasattr(value, "fit") and hasattr(value, "apply")):
        raise InputError(f"{field}: {value!r} is not allowed; give a name or a ji.Preprocess")
    return value


def check_model(field: str, value: Any) -> Any:
    """A name or a `ji.Model`."""
    if isinstance(value, str):
        if value not in registry.MODELS:
            raise unknown(field, value, registry.MODELS)
    elif not (hasattr(value, "init") and hasattr(value, "apply") and hasattr(value, "name")):
        raise InputError(f"{field}: {value!r} is not allowed; give a name or a ji.Model")
    return value


def check_optimizer(field: str, value: Any) -> Any:
    """A name or a function of the learning rate."""
    if isinstance(value, str):
        if value not in registry.OPTIMIZERS:
            raise unknown(field, value, registry.OPTIMIZERS)
    elif not callable(value):
        raise InputError(f"{field}: {value!r} is not allowed; give a name or a function of the learning rate")
    return value


def check_learning_rate(field: str, value: Any) -> float | tuple[float, ...]:
    """A positive number, or a sequence of different ones."""
    several = as_tuple(value)
    rates = tuple(number(field, rate) for rate in ((value,) if several is None else several))
    if not rates:
        raise InputError(f"{field}: none given; give one or more positive numbers")
    for rate in rates:
        if not 0 < rate <= MAX_RATE:
            raise InputError(f"{field}: {rate} is not allowed; give a positive number up to {MAX_RATE:.0e}")
    if len(set(rates)) < len(rates):
        raise InputError(f"{field}: {rates} has a value twice; give each once")
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


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "dataset": check_dataset,
    "arms": check_arms,
    "model": check_model,
    "optimizer": check_optimizer,
    "learning_rate": check_learning_rate,
    "batch_size": check_count,
    "steps": check_count,
    "eval_every": lambda field, value: None if value is None else whole(field, value, 1),
    "trials": check_count,
    "seed": lambda field, value: whole(field, value, 0, MAX_SEED),
    "illumination": check_illumination,
    "precision": check_precision,
}
"""(field, value) -> the value as a study keeps it, for each field; InputError for a value that makes no sense."""


def as_tuple(value: Any) -> tuple[Any, ...] | None:
    """The items of any sequence or array; None for text and for whatever has no order or no items.

    >>> as_tuple([0.1, 1]), as_tuple("normal"), as_tuple(0.5)
    ((0.1, 1), None, None)
    """
    value = value.tolist() if hasattr(value, "tolist") else value  # of NumPy, JAX or pandas
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else None


def arm_names(arms: Sequence[Any]) -> tuple[str, ...]:
    return tuple(arm if isinstance(arm, str) else arm.name for arm in arms)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    known = getattr(value, "fingerprint", None)  # a Dataset knows its own, which covers every pixel
    return {"own": fingerprint.name_of(value), "fingerprint": known or fingerprint.fingerprint(value)}
