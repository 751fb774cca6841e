"""Decoded copies of files for all processes of one user: what one has decoded, the others map.

They are in `$XDG_CACHE_HOME/jaxinv/datasets`, each known by its file's path, inode, size and times, and are kept until
together they are too large; those that were used least recently go first. Where there can be no such folder, each
process decodes for itself.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from jaxinv.data.dataset import Dataset
from jaxinv.data.decoded import Entry, decoded_once, remove_folder
from jaxinv.utils.cache import own_cache_folder
from jaxinv.utils.files import PART

LOG = logging.getLogger(__name__)
MOST_BYTES = 4 * 2**30  # of all copies together
LEAST_BYTES = 2**20  # of a file: a smaller one is decoded in some milliseconds
SETTLED_SECONDS = 2.0  # since a file was written: a change right after it might leave its times as they are
ABANDONED_SECONDS = 3600.0  # since somebody last wrote to a copy that is not whole


def once_per_user(path: Path, meaning: Mapping[str, object], decode: Callable[[], Dataset]) -> Dataset:
    """The dataset decoded from a file, decoded only where no process of this user has done it before.

    Args:
      path: the file.
      meaning: what else the dataset depends on.
      decode: makes the dataset; called where the file is not there, small, or just written, too.
    """
    source = _source(path, meaning)
    return decode() if source is None else kept(source, decode, lambda: _source(path, meaning) == source)


def kept(
    source: str,
    decode: Callable[[], Dataset],
    is_current: Callable[[], bool] = lambda: True,
    rename: Callable[[str], str] = str,
) -> Dataset:
    """The dataset of a source: the user's copy of it, which is made if it is missing or damaged. See `decoded_once`."""
    try:
        folder = own_cache_folder("datasets")
    except OSError as error:
        LOG.debug("decoded datasets are not kept: %s", error)
        return decode()
    entry = Entry(folder / hashlib.sha256(source.encode()).hexdigest()[:32], source, rename, MOST_BYTES)
    before = entry.folder.exists()
    dataset = decoded_once(entry, decode, is_current)
    with contextlib.suppress(OSError):
        os.utime(entry.folder)
        if not before:
            trim(folder)
    return dataset


def trim(folder: Path) -> None:
    """Remove what was used least recently, until the rest is small enough, and what nobody will finish.

    Raises:
      OSError: something cannot be removed.
    """
    entries = []
    for entry in folder.iterdir():
        used = entry.stat().st_mtime
        if entry.name.startswith(PART):
            if time.time() - used > ABANDONED_SECONDS:
                shutil.rmtree(entry, ignore_errors=True)
        elif entry.is_dir():
            entries.append((used, sum(file.stat().st_size for file in entry.iterdir()), entry))
    total = sum(size for _, size, _ in entries)
    for _, size, entry in sorted(entries):
        if total <= MOST_BYTES:
            break
        remove_folder(entry)
        total -= size


def _source(path: Path, meaning: Mapping[str, object]) -> str | None:
    """What tells a file from every other and from itself before and after a change; None: it is not worth it."""
    try:
        info = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    if info.st_size < LEAST_BYTES or time.time() - max(info.st_mtime, info.st_ctime) < SETTLED_SECONDS:
        return None
    facts = (os.path.realpath(path), info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
    return repr((*facts, path.name, sorted(meaning.items())))
