"""`Arm`: a treatment, that is, what differs from the study."""

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jaxinv.errors import InputError, unknown
from jaxinv.fields import CHECKS, as_tuple, check_preprocess
from jaxinv.utils import fingerprint

if TYPE_CHECKING:
    import optax

    from jaxinv.models import Model
    from jaxinv.preprocess import Preprocess

ARM_FIELDS = (
    "preprocess",
    "model",
    "optimizer",
    "learning_rate",
    "loss",
    "augment",
    "batch_size",
    "train_examples",
    "label_noise",
    "batch_stats",
)
"""What an arm may change."""


@dataclass(frozen=True, init=False, repr=False)
class Arm:
    """A treatment: what differs from the study. A field that is None is the study's.

    Trial t of every arm sees the same stream of training examples, `batch_size` at a time, and begins with the same
    weights wherever the model is the same. So differences between arms are paired, trial by trial.

    Attributes:
      name: what results, tables and plots call it.
      preprocess: a name, a composition such as "inverted+pixel_mean", or a `ji.Preprocess`; None: "normal".
      model, optimizer, loss, augment, batch_size, train_examples, label_noise, batch_stats: as for `Study`.
      learning_rate: in place of the study's: one value, or as many as the study has.

    Raises:
      InputError: a field that an arm may not change, or a value that makes no sense.

    >>> Arm("adam", optimizer="adam", learning_rate=0.001).changes
    {'optimizer': 'adam', 'learning_rate': 0.001}
    >>> Arm("long", steps=1000)
    Traceback (most recent call last):
    jaxinv.errors.InputError: arms: 'long' may not change 'steps', which all arms share; give one of preprocess, ...
    """

    name: str
    preprocess: "str | Preprocess | None"
    model: "str | Model | None"
    optimizer: "str | Callable[[Any], optax.GradientTransformation] | None"
    learning_rate: float | tuple[float, ...] | None
    loss: "str | Callable[..., Any] | None"
    augment: "str | Callable[..., Any] | None"
    batch_size: int | None
    train_examples: int | None
    label_noise: float | None
    batch_stats: str | None

    def __init__(
        self,
        name: str,
        *,
        preprocess: "str | Preprocess | None" = None,
        model: "str | Model | None" = None,
        optimizer: "str | Callable[[Any], optax.GradientTransformation] | None" = None,
        learning_rate: "float | Sequence[float] | None" = None,
        loss: "str | Callable[..., Any] | None" = None,
        augment: "str | Callable[..., Any] | None" = None,
        batch_size: int | None = None,
        train_examples: int | None = None,
        label_noise: float | None = None,
        batch_stats: str | None = None,
        **others: Any,
    ) -> None:
        if not isinstance(name, str) or not name.isprintable() or not name.strip():
            raise InputError(f"arms: {name!r} is not allowed as a name; give a line of text")
        for field in others:
            if field in CHECKS or field == "arms":
                may = ", ".join(ARM_FIELDS)
                raise InputError(f"arms: {name!r} may not change {field!r}, which all arms share; give one of {may}")
            raise unknown(f"arms: {name}", field, ARM_FIELDS)
        given = {
            "preprocess": preprocess,
            "model": model,
            "optimizer": optimizer,
            "learning_rate": learning_rate,
            "loss": loss,
            "augment": augment,
            "batch_size": batch_size,
            "train_examples": train_examples,
            "label_noise": label_noise,
            "batch_stats": batch_stats,
        }
        object.__setattr__(self, "name", name)
        for field, value in given.items():
            check = check_preprocess if field == "preprocess" else CHECKS[field]
            checked = None if value is None else check(f"arms: {name}: {field}", value)
            object.__setattr__(self, field, checked)

    def __repr__(self) -> str:
        return f"Arm({', '.join([repr(self.name), *(f'{field}={value!r}' for field, value in self.changes.items())])})"

    @property
    def changes(self) -> dict[str, Any]:
        """The fields that the arm sets, by name."""
        return {field: value for field in ARM_FIELDS if (value := getattr(self, field)) is not None}

    def replace(self, **changes: Any) -> "Arm":
        """A copy with some fields changed."""
        return Arm(**{"name": self.name, **self.changes, **changes})


def arms(**factors: Any) -> tuple[Arm, ...]:
    """The product of factors: an arm for each combination of their values, named by the values.

    Args:
      factors: a field of `Arm` and a sequence of its values, or one value.

    >>> [arm.name for arm in arms(model=("mlp", "mlp_bn"), optimizer=("sgd", "adam"))]
    ['mlp sgd', 'mlp adam', 'mlp_bn sgd', 'mlp_bn adam']
    """
    if not factors:
        raise InputError("arms: no factor given; give fields of ji.Arm, each with its values")
    values = [as_tuple(value) or (value,) for value in factors.values()]
    varied = [field for field, several in zip(factors, values, strict=True) if len(several) > 1] or list(factors)
    made = []
    for chosen in itertools.product(*values):
        fields = dict(zip(factors, chosen, strict=True))
        made.append(Arm(" ".join(_label(field, fields[field]) for field in varied), **fields))
    return tuple(made)


def cross(given: Sequence[Any], **factors: Any) -> tuple[Arm, ...]:
    """The product of arms and factors, named as by `arms`: each arm once for each combination of the factors' values.

    >>> [arm.name for arm in cross(("normal", Arm("adam", optimizer="adam")), model=("mlp", "mlp_bn"))]
    ['normal mlp', 'normal mlp_bn', 'adam mlp', 'adam mlp_bn']
    """
    combinations = arms(**factors)
    made = []
    for arm, combination in itertools.product(map(as_arm, given), combinations):
        for field in arm.changes.keys() & combination.changes.keys():
            raise InputError(f"{field}: the arm {arm.name!r} sets it already; give it there, or to all arms")
        name = combination.name if len(given) == 1 else f"{arm.name} {combination.name}"
        made.append(Arm(name, **arm.changes, **combination.changes))
    return tuple(made)


def _label(field: str, value: Any) -> str:
    """A value of a factor in an arm's name."""
    text = value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else None
    if text is None:
        text = str(value) if isinstance(value, int) else fingerprint.name_of(value)
    return text if field in ("preprocess", "model", "optimizer", "loss", "augment") else f"{field}={text}"


def check_arms(value: Any) -> tuple[Any, ...]:
    """A sequence of arms whose names differ; preprocessings stand for themselves."""
    given = as_tuple(value)
    if given is None:
        raise InputError(f"arms: {value!r} is not allowed; give a sequence of names, ji.Preprocess or ji.Arm objects")
    if not given:
        raise InputError("arms: none given; give one or more")
    found = tuple(_checked(arm) for arm in given)
    names = [arm if isinstance(arm, str) else arm.name for arm in found]
    if len(set(names)) < len(names):
        raise InputError(f"arms: {', '.join(names)} has a name twice; give each once")
    return found


def _checked(arm: Any) -> Any:
    """An arm as a study keeps it."""
    if isinstance(arm, str) and not {":", "="}.isdisjoint(arm):
        return parse_arm(arm)
    if not isinstance(arm, (str, Arm)) and not hasattr(arm, "fit"):
        raise InputError(f"arms: {arm!r} is not allowed; give a name, a ji.Preprocess or a ji.Arm")
    return arm if isinstance(arm, Arm) else check_preprocess("arms", arm)


EXAMPLE = "'adam: optimizer=adam learning_rate=0.001'"
NUMBERS: dict[str, Callable[[str], Any]] = {
    "learning_rate": lambda text: [_number(float, part) for part in text.split(",")] if "," in text else float(text),
    "batch_size": int,
    "train_examples": int,
    "label_noise": float,
}
"""How the text of a field that holds numbers is read; ValueError for other text."""


def parse_arm(text: str) -> Arm:
    """The arm that "name: field=value field=value" describes; a field's name may have - for _.

    Raises:
      InputError: other text, and as for `Arm`.

    >>> parse_arm("slow: optimizer=adam learning-rate=0.001,0.01").changes
    {'optimizer': 'adam', 'learning_rate': (0.001, 0.01)}
    """
    name, colon, rest = text.partition(":")
    words = re.sub(r"\s*([=,+])\s*", r"\1", rest).split()
    if not colon or not words:
        what = "sets no field" if colon else "has no colon behind its name"
        raise InputError(f"arms: {text!r} {what}; give a preprocessing, or name: field=value ..., as in {EXAMPLE}")
    fields: dict[str, Any] = {}
    for word in words:
        field, equals, value = word.partition("=")
        field = field.replace("-", "_")
        if not equals:
            raise InputError(f"arms: {text!r}: {word!r} is no field=value; give name: field=value ..., as in {EXAMPLE}")
        if field in fields:
            raise InputError(f"arms: {text!r} sets {field} twice; give it once")
        if field not in CHECKS and field not in ARM_FIELDS:
            raise unknown(f"arms: {name.strip()}", field, ARM_FIELDS)
        fields[field] = _number(NUMBERS[field], value) if field in NUMBERS else value
    return Arm(name.strip(), **fields)


def arm_text(arm: Arm) -> str | None:
    """The text of an arm, from which `parse_arm` makes it again; None for one that has none, such as with functions.

    >>> arm_text(Arm("slow", optimizer="adam", learning_rate=(0.001, 0.01)))
    'slow: optimizer=adam learning_rate=0.001,0.01'
    """
    values = {field: as_tuple(value) or (value,) for field, value in arm.changes.items()}
    text = f"{arm.name}: " + " ".join(f"{field}={','.join(map(str, value))}" for field, value in values.items())
    try:
        return text if parse_arm(text) == arm else None
    except InputError:
        return None


def _number(read: Callable[[str], Any], text: str) -> Any:
    """The number that a text is, or the text, which the field's check then refuses."""
    try:
        return read(text)
    except ValueError:
        return text


def as_arm(arm: "str | Preprocess | Arm") -> Arm:
    """An arm of any kind as an `Arm`: a preprocessing p is `Arm(its name, preprocess=p)`."""
    if isinstance(arm, Arm):
        return arm
    return Arm(arm if isinstance(arm, str) else arm.name, preprocess=arm)
