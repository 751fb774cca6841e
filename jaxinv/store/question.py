"""What a stored run is to find out before it ends by itself, as its attribute `until` says it."""

import json
import os
from collections.abc import Mapping
from typing import Any

from jaxinv.errors import DataError, InputError
from jaxinv.store.folder import Stored, inspect
from jaxinv.store.storage import Storage

UNTIL = "until"
RUNNING = ("max_trials", "stop", "text")
"""What of the attribute does not say what is asked."""


def asked(until: Mapping[str, Any], most: int) -> str:
    """The attribute of a run that goes on until something is known, or for so many trials."""
    return json.dumps({**until, "max_trials": most, "stop": None}, sort_keys=True)


def stored_question(stored: Stored | None) -> dict[str, Any] | None:
    """What a stored run says of its end; None where it has a fixed number of trials."""
    text = None if stored is None or stored.root is None else stored.attrs.get(UNTIL)
    return None if text is None else json.loads(text)


def ended_at(stored: Stored | None, until: Mapping[str, Any] | None, trials: int) -> int | None:
    """How many trials a run has that has ended by what is asked; None: it has not, or was asked something else."""
    record = stored_question(stored)
    if stored is None or record is None or until is None or _core(record) != _core(until):
        return None
    stop = record["stop"]
    if stop is None or (stop["reason"] == "max_trials" and stored.trials != trials):
        return None
    return stored.trials


def check_same_question(storage: Storage, stored: Stored | None, until: Mapping[str, Any] | None) -> None:
    """InputError where other workers of a run are to find out something, and this one not, or something else."""
    record = stored_question(stored)
    there, here = (None if question is None else _core(question) for question in (record, until))
    if there != here:
        what = "for a fixed number of trials" if record is None else f"until {record['text']!r}"
        raise InputError(f"until: other workers run {str(storage)!r} {what}; give the same")


def kept_question(stored: Stored | None, until: Mapping[str, Any] | None, ended: bool, trials: int) -> dict[str, str]:
    """The attribute with which a run goes on, if any: of one that is grown beyond its end, nothing is left of it."""
    record = stored_question(stored)
    if stored is not None and record is not None:
        finished = until is None and record["stop"] is not None and stored.trials == trials
        if ended or finished:
            return {UNTIL: stored.attrs[UNTIL]}
    return {} if until is None else {UNTIL: asked(until, trials)}


def begun_for(folder: str | os.PathLike[str], until: Mapping[str, Any]) -> bool:
    """Whether the run in a folder is to find out just this.

    Raises:
      InputError: it holds something else.
    """
    record = stored_question(inspect(Storage(folder)))
    return record is not None and _core(record) == _core(until)


def end_of(folder: str | os.PathLike[str], until: Mapping[str, Any] | None, trials: int) -> int | None:
    """How many trials the run in a folder has that has ended by what is asked; None: it has not, or not begun."""
    try:
        return ended_at(inspect(Storage(folder)), until, trials)
    except (InputError, DataError):  # whoever is writing it just now, or cannot, says so
        return None


def _core(question: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in question.items() if name not in RUNNING}
