"""Whether a folder may take a run's results: what it holds, and whether that is the same study."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxinv.errors import DataError, InputError
from jaxinv.registry import KEEP
from jaxinv.results.schema import ALWAYS_KEPT, FIRST_KEPT, Schema
from jaxinv.store.files import ROOT
from jaxinv.store.hierarchy import BLOCKS, FORMAT, ROOT_DOCUMENT, STUDY, checksum, read_json
from jaxinv.store.lock import LOCK
from jaxinv.store.storage import Storage
from jaxinv.store.workers import CLAIMS, WORKERS
from jaxinv.study import Study, study_hash
from jaxinv.utils.files import PART

STUDY_FIELDS = {"dataset", "arms", "model", "trials", "seed"}
KEEPING = {"kept", "metrics", "metric_fingerprints", "test_arms", "test_images", "classes", "params"}
"""Fields of a schema that say what is kept of each trial."""

ADDING = ".adding"  # where a run is put together with further arms
OWN = {LOCK, CLAIMS, WORKERS, ADDING}


class Stored(NamedTuple):
    """What a folder with results says about itself.

    Attributes:
      study: the study's fields.
      root: the metadata of the whole, None where they are damaged.
      problem: in words, how.
      own: attributes of the group `blocks`: axes, block length, study and data; {} where those are damaged too.
    """

    study: dict[str, Any]
    root: dict[str, Any] | None
    problem: str | None
    own: dict[str, Any]

    @property
    def trials(self) -> int:
        """How many trials the folder is laid out for."""
        if self.root is None:
            return self.study["trials"]
        return self.documents["done"]["shape"][0]

    @property
    def attrs(self) -> dict[str, str]:
        """The results' attributes. Only where the root is sound."""
        assert self.root is not None
        return {name: value for name, value in self.root["attributes"].items() if name != "checksum"}

    @property
    def documents(self) -> dict[str, dict[str, Any]]:
        """The metadata of every group and array. Only where the root is sound."""
        assert self.root is not None
        return self.root["consolidated_metadata"]["metadata"]

    def schema(self) -> tuple[Schema, int]:
        """The stored axes and block length. Only where `own` is there."""
        names = {field.name for field in dataclasses.fields(Schema)}
        axes = {name: value for name, value in self.own.items() if name in names}
        return Schema.from_dict(axes, self.trials), self.own["block"]


def inspect(storage: Storage) -> Stored | None:
    """What a folder holds: None where it is new or empty.

    Raises:
      InputError: it holds something else.
      DataError: it holds results that do not say, any more, what they are of.
    """
    names = [name for name in storage.names() if name not in OWN and not name.startswith(PART)]
    if not names:
        return None
    root, problem = _root(storage)
    fields, damage = _study(storage)
    if ROOT not in names or (root is not None and "study_hash" not in root["attributes"]):
        ours = fields is not None and ROOT not in names  # begun, and stopped at once
    else:
        ours = fields is not None or root is not None
    if not ours:
        shown = ", ".join(names)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise InputError(f"out: {str(storage)!r} holds something else ({shown}); give a new or an empty folder")
    own = _own(storage, root)
    if own.get("format", FORMAT) != FORMAT:
        raise DataError(f"{storage.path(ROOT)}: is of another version of jaxinv; read it with that version")
    if damage is None and root is not None:
        fields = fields or json.loads(root["attributes"]["study"])
        if study_hash(fields) != root["attributes"]["study_hash"]:
            damage = "was altered, it is not the study of the results beside it"
    if damage is not None or fields is None:
        raise DataError(
            f"{storage.path(STUDY)} {damage}; put it back, or remove it and run the same command again to have it back"
        )
    return Stored(fields, root, problem, own)


def _own(storage: Storage, root: dict[str, Any] | None) -> dict[str, Any]:
    if root is not None:
        return root["consolidated_metadata"]["metadata"][BLOCKS]["attributes"]
    try:
        own = read_json(storage, f"{ROOT}/{BLOCKS}/zarr.json")["attributes"]
        return own if isinstance(own["block"], int) and own["block"] > 0 else {}
    except (KeyError, TypeError):
        return {}


def _study(storage: Storage) -> tuple[dict[str, Any] | None, str | None]:
    if storage.read(STUDY) is None:
        return None, None
    fields = read_json(storage, STUDY)
    if isinstance(fields, dict) and set(fields) >= STUDY_FIELDS and isinstance(fields["trials"], int):
        return fields, None
    return None, "is damaged, it does not hold a study"


def _root(storage: Storage) -> tuple[dict[str, Any] | None, str | None]:
    data = storage.read(ROOT_DOCUMENT)
    if data is None:
        return None, f"{storage.path(ROOT_DOCUMENT)} is missing"
    try:
        root = json.loads(data)
        attributes = root["attributes"]
        if "checksum" not in attributes and "study_hash" not in attributes:
            return root, None  # somebody else's
        if attributes["checksum"] == checksum(root):
            return root, None
    except (ValueError, KeyError, TypeError):
        pass
    return None, f"{storage.path(ROOT_DOCUMENT)} is truncated or altered"


def planned_trials(folder: str | os.PathLike[str]) -> int:
    """How many trials a folder was begun with, or has grown to; 0 where it is new or empty. Nothing else is checked.

    Raises:
      InputError: it holds something else.
      DataError: its study cannot be read any more.
    """
    stored = inspect(Storage(folder))
    return 0 if stored is None else stored.trials


def check_study(storage: Storage, stored: Stored, study: Study, fingerprint: str | None = None) -> None:
    """InputError where a folder holds another study, results from other data, or more trials than are asked for."""
    if study_hash(stored.study) != study.hash:
        asked = study.to_dict()
        names = [name for name in {**asked, **stored.study} if name != "trials"]
        different = [
            f"{name}: {_show(stored.study, name)} there, {_show(asked, name)} here"
            for name in names
            if stored.study.get(name) != asked.get(name)
        ]
        raise InputError(f"out: {str(storage)!r} holds another study ({'; '.join(different)}); give another folder")
    if fingerprint is not None:
        there = stored.own.get("data_fingerprint", fingerprint)
        if there != fingerprint:
            raise InputError(
                f"out: {str(storage)!r} holds results from other data (fingerprint {there[:12]} there,"
                f" {fingerprint[:12]} here); give another folder"
            )
    if stored.trials > study.trials:
        raise InputError(
            f"trials: {study.trials} is fewer than the {stored.trials} of {str(storage)!r}; give {stored.trials} or"
            " more, or another folder"
        )


def check_same_run(storage: Storage, stored: Stored | None, study: Study, attrs: Mapping[str, str]) -> Stored:
    """The run that other workers have begun; InputError where this one would compute something else."""
    if stored is None or stored.root is None:
        raise DataError(f"{storage}: other workers are there, and the run is not; run the same command again")
    if study.trials != stored.trials:
        raise InputError(
            f"trials: {study.trials} is more than the {stored.trials} that other workers compute in {str(storage)!r} "
            f"now; give {stored.trials}, or wait until they have ended"
        )
    used = [stored.attrs, *json.loads(stored.attrs.get("resumed_with", "[]"))]  # each with what it changed
    there = json.loads(next((run["versions"] for run in reversed(used) if "versions" in run), "{}"))
    here = json.loads(attrs.get("versions", "{}"))
    different = [f"{name} {there[name]} there, {here[name]} here" for name in there if there[name] != here.get(name)]
    if different:
        raise InputError(
            f"out: other workers of {str(storage)!r} use other versions ({'; '.join(different)}); use the same"
        )
    return stored


def stored_axes(storage: Storage, stored: Stored, schema: Schema, block: int) -> tuple[int, Schema]:
    """The store-block length and the schema with which a folder goes on; InputError where it holds other axes.

    A run that 0.1.0 began goes on without what 0.1.0 did not keep.
    """
    if not stored.own:
        return block, schema
    there, block = stored.schema()
    if there.kept == FIRST_KEPT:
        kept = tuple(name for name in schema.kept if name not in set(ALWAYS_KEPT) - set(FIRST_KEPT))
        schema = dataclasses.replace(schema, kept=kept)
    for field in dataclasses.fields(Schema):
        old, new = getattr(there, field.name), getattr(schema, field.name)
        if field.name == "trials" or old == new:
            continue
        if field.name in KEEPING:
            raise InputError(f"out: the run in {str(storage)!r} keeps {_kept(there)}; give the same, or another folder")
        raise InputError(
            f"out: {str(storage)!r} holds results of other {field.name} ({old} there, {new} here); give another folder"
        )
    return block, schema


def _kept(schema: Schema) -> str:
    """In words: what a run keeps of its trials, beyond what all runs keep, and is tested under."""
    networks = ("params",) if schema.params else ()
    chosen = [name for name in (*schema.kept, *networks) if name in KEEP]
    found = [f"keep={', '.join(chosen)}"] if chosen else []
    found += [f"metrics={', '.join(schema.metrics)} as they were then"] if schema.metrics else []
    found += [f"test_arms={', '.join(schema.test_arms)}"] if schema.test_arms else []
    return " and ".join(found) or "no more of its trials than all runs do"


def _show(fields: dict[str, Any], name: str) -> str:
    return json.dumps(fields[name]) if name in fields else "nothing"
