"""What the arms of a study share and what each changes, in words, from the study's JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxinv import registry
from jaxinv.arm import ARM_FIELDS
from jaxinv.study import LATER_FIELDS
from jaxinv.utils.text import listed, plural


@dataclass(frozen=True, eq=False)
class DescribedArms:
    """The arms of a study.

    Attributes:
      study: its fields, as `Study.to_dict` gives them.
      names: of the arms to describe.
    """

    study: Mapping[str, Any]
    names: Sequence[str]

    @cached_property
    def entries(self) -> dict[str, Any]:
        """arm -> what the study's JSON has for it; "" for an arm that is not there."""
        found = {_name(entry): entry for entry in self.study.get("arms", ())}
        return {name: found.get(name, "") for name in self.names}

    @cached_property
    def changes(self) -> dict[str, dict[str, Any]]:
        """arm -> the fields that it changes; none where its name, a preprocessing's, says all."""
        return {name: _changes(entry) for name, entry in self.entries.items()}

    @cached_property
    def short(self) -> dict[str, str]:
        """arm -> what it changes, in a few words, of those arms whose names do not say all."""
        texts = {
            name: ", ".join(change_text(field, value) for field, value in changed.items())
            for name, changed in self.changes.items()
        }
        return {name: text for name, text in texts.items() if text}

    @cached_property
    def long(self) -> dict[str, str]:
        """arm -> what it does, in a line, of those arms of which that is known."""
        lines = {name: describe_arm(entry) for name, entry in self.entries.items()}
        return {name: line for name, line in lines.items() if line}

    def use(self, field: str) -> bool:
        """Whether some arm has the study's value of a field."""
        return not self.names or any(field not in changed for changed in self.changes.values())

    def vary(self, *fields: str) -> bool:
        """Whether arms have different values of one of some fields."""
        return any(
            len({json.dumps(changed.get(field, self.study.get(field))) for changed in self.changes.values()}) > 1
            for field in fields
        )

    @cached_property
    def unusual(self) -> dict[str, Any]:
        """Fields of the study whose values are not the usual ones, as far as some arm has them."""
        fields = {field: self.study.get(field, usual) for field, usual in LATER_FIELDS.items() if self.use(field)}
        return {field: value for field, value in fields.items() if value != LATER_FIELDS[field]}

    @cached_property
    def replaces(self) -> bool:
        """Whether an arm has a value of its own where another has the study's."""
        return any(self.use(field) for changed in self.changes.values() for field in changed if field != "preprocess")


def describe_arm(entry: Any) -> str:
    """What an arm of a study's JSON does, with what is known of each name; "" where nothing is.

    >>> describe_arm("raw")
    'grey values as stored, 0 to 255'
    >>> describe_arm({"name": "adam", "optimizer": "adam", "learning_rate": 0.001})
    'optimizer adam, learning rate 0.001'
    >>> describe_arm({"name": "norm", "preprocess": "raw", "model": "mlp_nobias"})
    'preprocessing raw: grey values as stored, 0 to 255; model mlp_nobias: mlp whose first layer has no bias'
    """
    if isinstance(entry, str):
        return _known("preprocess", entry)
    texts = [(change_text(field, value), _known(field, value)) for field, value in _changes(entry).items()]
    return ("; " if any(line for _, line in texts) else ", ").join(
        f"{text}: {line}" if line else text for text, line in texts
    )


def change_text(field: str, value: Any) -> str:
    """A field's value in a few words.

    >>> change_text("learning_rate", [0.001, 0.01]), change_text("model", {"own": "mine"})
    ('learning rates 0.001 and 0.01', 'model mine')
    >>> change_text("train_examples", 1000), change_text("label_noise", 0.2)
    ('1,000 training examples', '20% label noise')
    """
    return WORDS[field](value) if field in WORDS else f"{field} {plain_name(value)}"


def unusual_sentence(field: str, value: Any) -> str:
    """A loss, augmentation, training subset or label noise of a study, in a sentence.

    >>> unusual_sentence("train_examples", 1000)
    'Each trial trained on a random subset of 1,000 training examples.'
    """
    line = _known(field, value)
    name = plain_name(value) + (f" ({line})" if line else "")
    if field == "loss":
        return f"Training minimised the loss {name}."
    if field == "augment":
        return f"Training images were augmented: {name}."
    if field == "train_examples":
        return f"Each trial trained on a random subset of {change_text(field, value)}."
    if field == "batch_stats":
        return (
            f"Evaluations used {change_text(field, value)}, of 1,000 training images under the weights of the moment."
        )
    return f"In each trial, another class took the place of {100 * value:g}% of the training labels, drawn at random."


def rates_text(rates: Sequence[float]) -> str:
    """Learning rates in words.

    >>> rates_text([0.5])
    'learning rate 0.5'
    """
    return f"learning rate{'' if len(rates) == 1 else 's'} {listed([f'{rate:g}' for rate in rates])}"


def plain_name(value: Any) -> str:
    """A field in words; an object of the user's own stands in JSON under `own`."""
    return str(value.get("own", value)) if isinstance(value, Mapping) else str(value)


WORDS: dict[str, Callable[[Any], str]] = {
    "preprocess": lambda value: f"preprocessing {plain_name(value)}",
    "learning_rate": lambda value: rates_text(value if isinstance(value, list) else [value]),
    "augment": lambda value: f"augmentation {plain_name(value)}",
    "batch_size": lambda value: f"batches of {value}",
    "train_examples": lambda value: "all training examples" if value is None else plural(value, "training example"),
    "label_noise": lambda value: f"{100 * value:g}% label noise",
    "batch_stats": lambda value: f"{value} batch statistics",
}


def _name(entry: Any) -> str:
    return str(entry.get("name", entry.get("own"))) if isinstance(entry, Mapping) else str(entry)


def _changes(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, Mapping) or "own" in entry:
        return {}
    return {field: entry[field] for field in ARM_FIELDS if field in entry}


def _known(field: str, value: Any) -> str:
    """The registry's line on a field's value, or ""."""
    if not isinstance(value, str):
        return ""
    if field == "preprocess":
        lines = [registry.PREPROCESSINGS.get(name, "") for name in value.split("+")]
        return ", then ".join(lines) if all(lines) else ""
    if field == "model":
        return registry.describe_model(value) or ""
    return {"loss": registry.LOSSES, "augment": registry.AUGMENTATIONS}.get(field, {}).get(value, "")
