"""`Study`: everything that defines a run, in one frozen value that checks itself, prints as JSON and has a hash."""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jaxinv import registry
from jaxinv.errors import InputError, unknown, whole
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
      arms: input preprocessings to compare: names, compositions such as "inverted+pixel_mean", or `ji.Preprocess`.
      model: a name or a `ji.Model`.
      optimizer: a name of optax's, or any function `learning_rate -> optax.GradientTransformation`.
      learning_rate: one value, or several: an axis of the results.
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
        _check_names(self)
        for name in ("batch_size", "steps", "trials"):
            _set(self, name, whole(name, getattr(self, name), 1, MAX_EXAMPLES))
        _set(self, "seed", whole("seed", self.seed, 0, MAX_SEED))
        if self.eval_every is not None:
            _set(self, "eval_every", whole("eval_every", self.eval_every, 1, self.steps))
            if self.steps % self.eval_every:
                raise InputError(
                    f"eval_every: {self.eval_every} does not divide steps={self.steps}; give a divisor of it"
                )
        if self.steps * self.batch_size > MAX_EXAMPLES:
            raise InputError(
                f"steps: {self.steps} steps of batch_size={self.batch_size} draw more than {MAX_EXAMPLES} examples "
                "a trial; lower one of them"
            )
        _set(self, "learning_rate", _learning_rate(self.learning_rate))
        _set(self, "illumination", _number("illumination", self.illumination))
        if not 0.0 <= self.illumination < 1.0:
            raise InputError(
                f"illumination: {self.illumination} is not allowed; give a number from 0 up to, but not, 1"
            )
        if self.precision not in ("exact", "fast"):
            raise unknown("precision", self.precision, ("exact", "fast"))

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """The learning-rate axis, also where `learning_rate` is a single value."""
        return self.learning_rate if isinstance(self.learning_rate, tuple) else (self.learning_rate,)

    @property
    def arm_names(self) -> tuple[str, ...]:
        """The arm axis: each arm's name."""
        return tuple(arm if isinstance(arm, str) else arm.name for arm in self.arms)

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
                    raise InputError(f"{name}: {item} is an object of your own; build the Study in Python with it")
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
            raise InputError(f"study: not JSON ({error})") from None
        if not isinstance(fields, dict):
            raise InputError(f"study: a JSON object is needed, not {type(fields).__name__}")
        return cls.from_dict(fields)

    @property
    def hash(self) -> str:
        """SHA-256 of all fields but `trials`: two runs with one hash differ only in how many trials they have.

        >>> Study(trials=10).hash == Study(trials=20).hash != Study(seed=1).hash
        True
        """
        fields = {name: value for name, value in self.to_dict().items() if name != "trials"}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def replace(self, **changes: Any) -> "Study":
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


def _set(study: Study, name: str, value: Any) -> None:
    object.__setattr__(study, name, value)  # how a frozen dataclass normalises its own fields


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, (str, bool)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name}: {value!r} is not allowed; give a number") from None
    if not math.isfinite(number):
        raise InputError(f"{name}: {number} is not allowed; give a finite number")
    return number


def _learning_rate(value: Any) -> float | tuple[float, ...]:
    value = value.tolist() if hasattr(value, "tolist") else value  # an array, or a number of NumPy's
    several = isinstance(value, (tuple, list))
    rates = tuple(_number("learning_rate", rate) for rate in (value if several else (value,)))
    if not rates:
        raise InputError("learning_rate: none given; give one or more positive numbers")
    for rate in rates:
        if not 0 < rate <= MAX_RATE:
            raise InputError(f"learning_rate: {rate} is not allowed; give a positive number up to {MAX_RATE:.0e}")
    if len(set(rates)) < len(rates):
        raise InputError(f"learning_rate: {rates} has a value twice; give each once")
    return rates if several else rates[0]


def _check_names(study: Study) -> None:
    arms = study.arms
    if isinstance(arms, str) or not isinstance(arms, (tuple, list)):
        raise InputError(f"arms: {arms!r} is not allowed; give a tuple of names or ji.Preprocess objects")
    if not arms:
        raise InputError("arms: none given; give one or more")
    _set(study, "arms", tuple(arms))
    for arm in arms:
        for part in arm.split("+") if isinstance(arm, str) else ():
            if not part.strip():
                raise InputError(f"arms: {arm!r} has an empty part; give a name, or names joined by +")
            if part.strip() not in registry.PREPROCESSINGS:
                raise unknown("arms", part, registry.PREPROCESSINGS)
        if not isinstance(arm, str) and not (hasattr(arm, "fit") and hasattr(arm, "apply")):
            raise InputError(f"arms: {arm!r} is neither a name nor a ji.Preprocess")
    names = [arm if not isinstance(arm, str) else "+".join(part.strip() for part in arm.split("+")) for arm in arms]
    _set(study, "arms", tuple(names))
    if len(set(study.arm_names)) < len(arms):
        raise InputError(f"arms: {', '.join(study.arm_names)} has a name twice; give each once")
    if isinstance(study.model, str):
        if study.model not in registry.MODELS:
            raise unknown("model", study.model, registry.MODELS)
    elif not (hasattr(study.model, "init") and hasattr(study.model, "apply") and hasattr(study.model, "name")):
        raise InputError(f"model: {study.model!r} is neither a name nor a ji.Model")
    if isinstance(study.optimizer, str):
        if study.optimizer not in registry.OPTIMIZERS:
            raise unknown("optimizer", study.optimizer, registry.OPTIMIZERS)
    elif not callable(study.optimizer):
        raise InputError(f"optimizer: {study.optimizer!r} is neither a name nor a function of the learning rate")
    if isinstance(study.dataset, os.PathLike):
        _set(study, "dataset", os.fspath(study.dataset))
    if isinstance(study.dataset, str):
        named = study.dataset in registry.DATASETS and "<" not in study.dataset
        if not named and not study.dataset.startswith("tfds:") and not study.dataset.lower().endswith(".npz"):
            raise unknown("dataset", study.dataset, registry.DATASETS)
    elif not hasattr(study.dataset, "x_train"):
        raise InputError(f"dataset: {study.dataset!r} is neither a name, the path of an .npz, nor a ji.Dataset")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    known = getattr(value, "fingerprint", None)  # a Dataset knows its own, which covers every pixel
    return {"own": fingerprint.name_of(value), "fingerprint": known or fingerprint.fingerprint(value)}
