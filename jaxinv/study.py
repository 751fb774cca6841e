"""`Study`: everything that defines a run, in one frozen value that checks itself, prints as JSON and has a hash."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jaxinv.arm import ARM_FIELDS, Arm, as_arm, check_arms
from jaxinv.errors import InputError, one_line, unknown, whole
from jaxinv.fields import CHECKS, MAX_EXAMPLES, as_tuple
from jaxinv.utils import fingerprint

if TYPE_CHECKING:
    import optax

    from jaxinv.data import Dataset
    from jaxinv.models import Model
    from jaxinv.preprocess import Preprocess


@dataclass(frozen=True, kw_only=True)
class Study:
    """What to run: `trials` independent trainings under each arm and learning rate, paired trial by trial.

    Trial t of every arm and learning rate starts from the same weights and sees the same training examples.

    Attributes:
      dataset: "mnist" (bundled), "tfds:<name>", the path of an `.npz`, or a `ji.Dataset`.
      arms: a sequence of treatments to compare: `ji.Arm` objects, the same as text ("adam: optimizer=adam
        learning_rate=0.001"), or preprocessings (names, compositions such as "inverted+pixel_mean", `ji.Preprocess`).
      model: a name, with sizes if it takes them (`mlp:128,64`), or a `ji.Model`.
      optimizer: a name of optax's, or any function `learning_rate -> optax.GradientTransformation`.
      learning_rate: one value, or a sequence of them: an axis of the results. (A sequence, here and in `arms`, is
        anything with a length and items in order: a list, an array, a `ListConfig`; no set and no generator.)
      loss: what training minimises: "cross_entropy", one of optax's classification losses by name, or a function
        `(logits [B, C], labels [B]) -> [B]`. (`test_loss` is the cross-entropy whatever it is.)
      augment: changes training images as they are read: a name or a function `(key, images [B, H, W, K] as stored) ->
        images` of the same shape; "none" by default.
      batch_size: B, examples a step.
      train_examples: train on a random subset of so many examples, another one in each trial, the smaller inside the
        larger; None: on all.
      label_noise: share of the training labels that are replaced by another class at random, the same ones in each arm.
      batch_stats: which statistics batch normalisation uses in evaluations: "running" averages over the batches of
        training, or "recomputed" ones, of 1,000 training images under the weights of the moment ("precise BN", Wu and
        Johnson 2021, arXiv:2105.07576). Running averages lag behind the weights, most of all after few updates.
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
    arms: "Sequence[str | Preprocess | Arm]" = ("normal", "inverted")
    model: "str | Model" = "softmax"
    optimizer: "str | Callable[[Any], optax.GradientTransformation]" = "sgd"
    learning_rate: float | Sequence[float] = 0.5
    loss: "str | Callable[..., Any]" = "cross_entropy"
    augment: "str | Callable[..., Any]" = "none"
    batch_size: int = 100
    train_examples: int | None = None
    label_noise: float = 0.0
    batch_stats: Literal["running", "recomputed"] = "running"
    steps: int = 50
    eval_every: int | None = None
    trials: int = 100
    seed: int = 0
    illumination: float = 0.0
    precision: Literal["exact", "fast"] = "exact"

    def __post_init__(self) -> None:
        for field, check in CHECKS.items():
            object.__setattr__(self, field, check(field, getattr(self, field)))
        object.__setattr__(self, "arms", check_arms(self.arms))
        if self.eval_every is not None:
            whole("eval_every", self.eval_every, 1, self.steps)
            if self.steps % self.eval_every:
                raise InputError(
                    f"eval_every: {self.eval_every} does not divide steps={self.steps}; give a divisor of it"
                )
        for arm in self.complete_arms:
            if self.steps * (arm.batch_size or 1) > MAX_EXAMPLES:
                raise InputError(
                    f"steps: {self.steps} steps of batch_size={arm.batch_size} draw more than {MAX_EXAMPLES} examples "
                    "a trial; lower one of them"
                )
            rates = as_tuple(arm.learning_rate)
            if rates is not None and len(rates) not in (1, len(self.learning_rates)):
                raise InputError(
                    f"arms: {arm.name}: learning_rate: {len(rates)} values are not allowed; give one, or as many as "
                    f"the study's {len(self.learning_rates)}"
                )

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """The learning-rate axis, also where `learning_rate` is a single value."""
        rates = self.learning_rate
        return rates if isinstance(rates, tuple) else (rates,)  # pyright: ignore[reportReturnType]  (checked)

    @property
    def arm_names(self) -> tuple[str, ...]:
        """The arm axis: each arm's name."""
        return tuple(arm if isinstance(arm, str) else arm.name for arm in self.arms)

    @property
    def complete_arms(self) -> tuple[Arm, ...]:
        """The arms with every field filled in from the study (`train_examples` stays None where all are used)."""
        inherited = {field: getattr(self, field) for field in ARM_FIELDS if field != "preprocess"}
        inherited |= {"preprocess": "normal"}
        return tuple(
            arm.replace(**{field: value for field, value in inherited.items() if getattr(arm, field) is None})
            for arm in map(as_arm, self.arms)
        )

    def rates(self, arm: Arm) -> tuple[float, ...]:
        """The learning rates that a complete arm uses, along the axis of the study's."""
        found: tuple[Any, ...] = as_tuple(arm.learning_rate) or (arm.learning_rate,)
        return found if len(found) == len(self.learning_rates) else found * len(self.learning_rates)

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
        for name in fields:
            if name not in known:
                raise unknown("study", name, known)
        values = {name: _from_plain(name, value) for name, value in fields.items()}
        if isinstance(values.get("arms"), tuple):
            values["arms"] = tuple(Arm(**arm) if isinstance(arm, dict) else arm for arm in values["arms"])
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> "Study":
        """The study that `to_json` printed.

        Raises:
          InputError: text that is no JSON object, and as for `from_dict`.
        """
        return cls.from_dict(read_fields(text))

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


def read_fields(text: str) -> dict[str, Any]:
    """The fields that `Study.to_json` printed, unchecked; InputError for text that is no JSON object."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"study: the text is not JSON ({one_line(error)}); give a JSON object") from None
    if not isinstance(fields, dict):
        raise InputError(f"study: {type(fields).__name__} is not allowed; give a JSON object")
    return fields


def study_hash(fields: Mapping[str, Any]) -> str:
    """`Study.hash`, from what `Study.to_dict` gave: objects of the user's own are only named there."""
    kept = {name: value for name, value in fields.items() if name != "trials" and LATER_FIELDS.get(name, ()) != value}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


LATER_FIELDS = {
    "loss": "cross_entropy",
    "augment": "none",
    "train_examples": None,
    "label_noise": 0.0,
    "batch_stats": "running",
}
"""Fields that studies of version 0.1.0 lacked, by what they did. At these values they do not enter the hash."""


def _plain(value: Any) -> Any:
    if isinstance(value, Arm):
        return {"name": value.name} | {field: _plain(changed) for field, changed in value.changes.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    known = getattr(value, "fingerprint", None)  # a Dataset knows its own, which covers every pixel
    return {"own": fingerprint.name_of(value), "fingerprint": known or fingerprint.fingerprint(value)}


def _from_plain(field: str, value: Any) -> Any:
    """What `_plain` made plain, but for objects of the user's own."""
    if isinstance(value, list | tuple):
        return tuple(_from_plain(field, item) for item in value)
    if isinstance(value, dict):
        if "own" in value:
            raise InputError(
                f"{field}: {value['own']!r} is an object of your own, which JSON only names; give a name, or build the "
                "Study in Python"
            )
        if field != "arms" or not isinstance(value.get("name"), str):
            raise InputError(f"{field}: {value} is not allowed; give a plain value")
        return {name: _from_plain(name, item) for name, item in value.items()}
    return value
