"""Whether a run can write to a folder; and whether it need not, since all of it is there."""

import os
import shutil
from pathlib import Path

from jaxinv.errors import InputError
from jaxinv.store.files import ROOT
from jaxinv.store.folder import check_study, inspect
from jaxinv.store.reading import describe_progress
from jaxinv.store.storage import Storage
from jaxinv.study import Study


def check_can_hold(folder: str | os.PathLike[str], study: Study, *, fingerprint: str | None = None) -> None:
    """Refuse a folder that cannot take a study's results, before anything is computed; touches nothing.

    A finished run may lie where nobody can write, see `is_finished_copy`.

    Raises:
      InputError: it is no folder, is not writable, or holds something else, another study or more trials.
      DataError: it holds results whose study cannot be read any more.
    """
    storage = Storage(folder)
    if storage.local:
        _check_path(storage.local)
    stored = inspect(storage)
    if stored is not None:
        check_study(storage, stored, study, fingerprint)
    if storage.local and not is_finished_copy(storage):
        _check_access(storage.local)


def is_finished_copy(storage: Storage) -> bool:
    """Whether a folder holds a finished run and cannot be written to, as on a read-only mount: it can be read."""
    root = storage.local
    if root is None or not (root / ROOT).is_dir() or all(_can_write(place) for place in (root, root / ROOT)):
        return False
    done, trials = describe_progress(root)
    return done == trials


def refuse_to_grow(storage: Storage, stored: int, asked: int) -> None:
    """Refuse more trials than a finished run has that cannot be written to.

    Raises:
      InputError: more are asked for.
    """
    if asked != stored:
        raise InputError(
            f"out: {str(storage)!r} cannot be written to, and {asked} trials are more than the {stored} that it has; "
            f"give {stored}, or another folder"
        )


def free_disk_bytes(folder: str | os.PathLike[str]) -> int | None:
    """Free bytes where a folder is, or will be; None for a URL, whose store does not say."""
    place = Storage(folder).local
    if place is None:
        return None
    return shutil.disk_usage(next(near for near in (place, *place.absolute().parents) if near.exists())).free


def _check_path(root: Path) -> None:
    try:
        if not root.is_dir() and os.path.lexists(root) and not root.is_dir():  # a worker may have made it just now
            raise InputError(f"out: {str(root)!r} is not a folder; give a new or an empty one")
        near = root
        while not os.path.lexists(near):
            near = near.parent
    except OSError as error:  # a name that is too long, say
        raise InputError(
            f"out: {str(root)!r} is not the name of a folder ({error.strerror}); give another one"
        ) from None
    if not near.is_dir():
        raise InputError(f"out: {str(near)!r} is not a folder; give another one than {str(root)!r}")


def _check_access(root: Path) -> None:
    results = root / ROOT
    if results.is_symlink():  # it would be another folder's, whose lock would not be asked for
        raise InputError(f"out: {str(results)!r} is a link; give the folder that it is in, or another one")
    near = next(place for place in (root, *root.parents) if place.exists())
    for place in (near, results):
        if place.exists() and not _can_write(place):
            raise InputError(f"out: {str(place)!r} cannot be written to; give another folder")


def _can_write(place: Path) -> bool:
    return os.access(place, os.W_OK | os.X_OK)
