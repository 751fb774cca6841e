"""Whether a folder may take a run's results: what it holds, and whether that is the same study."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from jaxinv.errors import DataError, InputError
from jaxinv.results.schema import Schema
from jaxinv.store import zarr_files
from jaxinv.store.files import Files, LocalFiles, open_files
from jaxinv.store.lock import LOCK, MEMBERS, PLAN
from jaxinv.study import Study, study_hash
from jaxinv.utils.files import PART

STUDY = "study.json"
STUDY_FIELDS = {"dataset", "arms", "model", "trials", "seed"}
OWN = {LOCK, MEMBERS, PLAN}


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
        return self.documents()["done"]["shape"][0]

    def attrs(self) -> dict[str, str]:
        """The results' attributes. Only where the root is sound."""
        assert self.root is not None
        return {name: value for name, value in self.root["attributes"].items() if name != "checksum"}

    def documents(self) -> dict[str, dict[str, Any]]:
        """The metadata of every array. Only where the root is sound."""
        assert self.root is not None
        return self.root["consolidated_metadata"]["metadata"]

    def schema(self) -> tuple[Schema, int]:
        """The stored axes and block length. Only where `own` is there."""
        own = self.own
        schema = Schema(
            arms=tuple(own["arms"]),
            learning_rates=tuple(own["learning_rates"]),
            steps=tuple(own["steps"]),
            layers=tuple(own["layers"]),
            image_shape=tuple(own["image_shape"]),
            pixel_weights=own["pixel_weights"],
            trials=self.trials,
        )
        return schema, own["block"]


def inspect(files: Files) -> Stored | None:
    """What a folder holds: None where it is new or empty.

    Raises:
      InputError: it holds something else.
      DataError: it holds results that do not say, any more, what they are of.
    """
    names = [name for name in files.names() or () if name not in OWN and not name.startswith(PART)]
    if not names:
        return None
    root, problem = _root(files)
    fields, damage = _study(files)
    if zarr_files.ROOT not in names or (root is not None and "study_hash" not in root["attributes"]):
        ours = fields is not None and zarr_files.ROOT not in names  # begun, and stopped at once
    else:
        ours = fields is not None or root is not None
    if not ours:
        shown = ", ".join(names)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise InputError(f"out: {str(files)!r} holds something else ({shown}); give a new or an empty folder")
    own = _own(files, root)
    if own.get("format", zarr_files.FORMAT) != zarr_files.FORMAT:
        raise DataError(f"{files.path(zarr_files.ROOT)}: is of another version of jaxinv; read it with that version")
    if damage is None and root is not None:
        fields = fields or json.loads(root["attributes"]["study"])
        if study_hash(fields) != root["attributes"]["study_hash"]:
            damage = "was altered, it is not the study of the results beside it"
    if damage is not None or fields is None:
        raise DataError(
            f"{files.path(STUDY)} {damage}; put it back, or remove it and run the same command again to have it back"
        )
    return Stored(fields, root, problem, own)


def _own(files: Files, root: dict[str, Any] | None) -> dict[str, Any]:
    if root is not None:
        return root["consolidated_metadata"]["metadata"][zarr_files.BLOCKS]["attributes"]
    try:
        own = json.loads(files.read(zarr_files.document(zarr_files.BLOCKS)) or b"{}")["attributes"]
        return own if isinstance(own["block"], int) and own["block"] > 0 else {}
    except (ValueError, KeyError, TypeError):
        return {}


def _study(files: Files) -> tuple[dict[str, Any] | None, str | None]:
    data = files.read(STUDY)
    if data is None:
        return None, None
    try:
        fields = json.loads(data)
    except ValueError:
        fields = None
    if isinstance(fields, dict) and set(fields) >= STUDY_FIELDS and isinstance(fields["trials"], int):
        return fields, None
    return None, "is damaged, it does not hold a study"


def _root(files: Files) -> tuple[dict[str, Any] | None, str | None]:
    key = zarr_files.document("")
    data = files.read(key)
    if data is None:
        return None, f"{files.path(key)} is missing"
    try:
        root = json.loads(data)
        attributes = root["attributes"]
        if "checksum" not in attributes and "study_hash" not in attributes:
            return root, None  # somebody else's
        if attributes["checksum"] == zarr_files.checksum(root):
            return root, None
    except (ValueError, KeyError, TypeError):
        pass
    return None, f"{files.path(key)} is truncated or altered"


def planned_trials(folder: str | os.PathLike[str]) -> int:
    """How many trials a folder was begun with, or has grown to; 0 where it is new or empty. Nothing else is checked.

    Raises:
      InputError: it holds something else.
      DataError: its study cannot be read any more.
    """
    stored = inspect(open_files(folder))
    return 0 if stored is None else stored.trials


def check_study(files: Files, stored: Stored, study: Study, fingerprint: str | None = None) -> None:
    """InputError where a folder holds another study, results from other data, or more trials than are asked for."""
    if study_hash(stored.study) != study.hash:
        asked = study.to_dict()
        names = [name for name in {**asked, **stored.study} if name != "trials"]
        different = [
            f"{name}: {_show(stored.study, name)} there, {_show(asked, name)} here"
            for name in names
            if stored.study.get(name) != asked.get(name)
        ]
        raise InputError(f"out: {str(files)!r} holds another study ({'; '.join(different)}); give another folder")
    if fingerprint is not None:
        there = stored.own.get("data_fingerprint", fingerprint)
        if there != fingerprint:
            raise InputError(
                f"out: {str(files)!r} holds results from other data (fingerprint {there[:12]} there, {fingerprint[:12]}"
                " here); give another folder"
            )
    if stored.trials > study.trials:
        raise InputError(
            f"trials: {study.trials} is fewer than the {stored.trials} of {str(files)!r}; give {stored.trials} or more,"
            " or another folder"
        )


def _show(fields: dict[str, Any], name: str) -> str:
    return json.dumps(fields[name]) if name in fields else "nothing"


def check_folder(folder: str | os.PathLike[str], study: Study, *, fingerprint: str | None = None) -> None:
    """Refuse an output folder before anything is computed; touches nothing.

    Raises:
      InputError: it is no folder, is not writable, or holds something else, another study or more trials.
      DataError: it holds results whose study cannot be read any more.
    """
    files = open_files(folder)
    if isinstance(files, LocalFiles):
        _check_path(files.root)
    stored = inspect(files)
    if stored is not None:
        check_study(files, stored, study, fingerprint)
    if isinstance(files, LocalFiles):
        _check_access(files.root)


def _check_path(root: Path) -> None:
    try:
        if not root.is_dir() and os.path.lexists(root):
            raise InputError(f"out: {str(root)!r} is not a folder; give a new or an empty one")
        near = root
        while not os.path.lexists(near):
            near = near.parent
    except OSError as error:  # a name that is too long, say
        raise InputError(f"out: {str(root)!r} is not the name of a folder ({error.strerror})") from None
    if not near.is_dir():
        raise InputError(f"out: {str(near)!r} is not a folder; give another one than {str(root)!r}")


def _check_access(root: Path) -> None:
    results = root / zarr_files.ROOT
    if results.is_symlink():  # it would be another folder's, whose lock would not be asked for
        raise InputError(f"out: {str(results)!r} is a link; give the folder that it is in, or another one")
    near = next(place for place in (root, *root.parents) if place.exists())
    for place in (near, results):
        if place.exists() and not os.access(place, os.W_OK | os.X_OK):
            raise InputError(f"out: {str(place)!r} cannot be written to; give another folder")
