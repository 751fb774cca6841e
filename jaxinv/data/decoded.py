"""Decoded datasets on disk, as memory maps that all processes of a machine share.

An entry is a folder: one `.npy` file for each array, which NumPy and others read too, and `facts.json`. It is there
whole or not at all, and never changed; whatever of it is damaged is noticed by checksums, and it is made again.
"""

import errno
import json
import logging
import math
import mmap
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from jaxinv.data.dataset import ARRAYS, Dataset, FixedMap
from jaxinv.data.doubts import hearing, repeat
from jaxinv.data.grey_values import BYTES
from jaxinv.errors import DataError, one_line
from jaxinv.utils.files import PART
from jaxinv.utils.locks import locked

LOG = logging.getLogger(__name__)
FACTS = "facts.json"
FORMAT = 1
WAIT_SECONDS = 120.0  # for another process that decodes the same; then this one decodes as well
_REMOTE = ("nfs", "cifs", "smb", "afs", "fuse")


@dataclass(frozen=True)
class Entry:
    """Where a decoded dataset is, or will be.

    Attributes:
      folder: of the entry; that which it is in is there.
      source: what the dataset is decoded from. An entry of another source does not count.
      rename: from the name that the dataset had when it was decoded to the one that it is to have.
      most_bytes: a dataset of more is not put there.
    """

    folder: Path
    source: str
    rename: Callable[[str], str] = str
    most_bytes: float = math.inf

    def read(self, *, check: bool = True, say: bool = True) -> Dataset | None:
        """The dataset, its arrays mapped; None if there is none, or one of another source or format.

        Args:
          check: compare checksums too, which reads everything.
          say: log the doubts that there were when it was decoded.

        Raises:
          DataError: it is damaged.
        """
        facts = _facts(self.folder)
        if facts is None or (facts["format"], facts["source"]) != (FORMAT, self.source):
            return None
        mapped = not _is_remote(self.folder)
        try:
            arrays = {name: _array(self.folder, name, facts["files"][name], mapped, check) for name in ARRAYS}
        except OSError as error:
            if not self.folder.exists():  # another process has just removed it
                return None
            raise DataError(f"{self.folder}: damaged ({one_line(error)})") from error
        if say:
            repeat(facts["doubts"])
        name, classes = self.rename(facts["name"]), facts["classes"]
        return Dataset(**arrays, name=name, classes=classes, value_range=BYTES, channels="last", renumber=False)

    def write(self, dataset: Dataset, doubts: Sequence[str]) -> None:
        """Put a dataset there, in place of any other.

        Raises:
          OSError: it cannot be written; nothing is left behind.
        """
        parent = self.folder.parent
        arrays = {name: getattr(dataset, name) for name in ARRAYS}
        if shutil.disk_usage(parent).free < 2 * _nbytes(dataset):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = parent / f"{PART}{uuid.uuid4().hex}"
        try:
            part.mkdir()
            files = {}
            for name, array in arrays.items():
                np.save(part / f"{name}.npy", array)
                content = _content(part / f"{name}.npy", mapped=True)
                files[name] = {"bytes": len(content), "crc32": zlib.crc32(content)}
            facts = {"format": FORMAT, "source": self.source, "name": dataset.name, "classes": dataset.classes}
            facts |= {"doubts": list(doubts), "files": files}
            (part / FACTS).write_text(json.dumps({"facts": facts, "crc32": _checksum(facts)}))
            remove_folder(self.folder)
            try:
                part.rename(self.folder)
            except OSError:
                if not self.folder.exists():
                    raise  # else another process was faster
        finally:
            shutil.rmtree(part, ignore_errors=True)


def decoded_once(entry: Entry, decode: Callable[[], Dataset], is_current: Callable[[], bool]) -> Dataset:
    """The dataset in an entry; where there is none, it is decoded, by one process at a time, and put there.

    Args:
      entry: where it is.
      decode: makes the dataset.
      is_current: whether the source is still what the entry says. What was decoded while it changed is not kept.

    Raises:
      DataError: the entry is damaged, and decoding fails as well.
    """
    found, _ = _try_read(entry)
    if found is not None:
        return found
    lock = entry.folder.with_name(f".{entry.folder.name}.lock")
    start = time.monotonic()
    with ExitStack() as stack:
        try:
            mine = stack.enter_context(locked(lock, seconds=WAIT_SECONDS, what=f"decoding {entry.folder}"))
        except OSError as error:
            _not_kept(entry, error)
            mine = False
        found, damage = _try_read(entry)  # another process may have made it meanwhile
        if found is not None:
            return found
        if time.monotonic() - start > 1:
            stack.close()  # whoever had the lock could not keep the dataset, so nobody shall wait for this process
        dataset, doubts = _decode(decode, damage)
        if not mine or not is_current() or _nbytes(dataset) > entry.most_bytes:
            return dataset
        try:
            entry.write(dataset, doubts)
        except OSError as error:
            _not_kept(entry, error)
            return dataset
        if _is_remote(entry.folder):
            return dataset
        # The memory that others share, not its own; the entry may be gone again, where there is room for few.
        return entry.read(check=False, say=False) or dataset


def remove_folder(folder: Path) -> None:
    """Remove an entry in one step, if it is there. Whoever has mapped its files keeps what is in them.

    Raises:
      OSError: it cannot be removed.
    """
    gone = folder.with_name(f"{PART}{uuid.uuid4().hex}")
    try:
        folder.rename(gone)
    except FileNotFoundError:
        return
    shutil.rmtree(gone, ignore_errors=True)


def _try_read(entry: Entry) -> tuple[Dataset | None, DataError | None]:
    try:
        return entry.read(), None
    except DataError as damage:
        return None, damage


def _decode(decode: Callable[[], Dataset], damage: DataError | None) -> tuple[Dataset, list[str]]:
    with hearing() as doubts:
        try:
            dataset = decode()
        except DataError as error:
            if damage is None:
                raise
            raise DataError(f"{damage}; nor can it be made again ({error})") from error
    if damage is not None:
        LOG.warning("%s; it has been made again", damage)
    return dataset, doubts


def _nbytes(dataset: Dataset) -> int:
    return sum(getattr(dataset, name).nbytes for name in ARRAYS)


def _not_kept(entry: Entry, error: OSError) -> None:
    reason = error.strerror or one_line(error)
    LOG.warning("%s: cannot be written (%s), so that the dataset is decoded at each use", entry.folder, reason)


def _facts(entry: Path) -> dict[str, Any] | None:
    try:
        content = json.loads((entry / FACTS).read_bytes())
        facts, checksum = content["facts"], content["crc32"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{entry}: damaged ({FACTS} cannot be read)") from error
    if checksum != _checksum(facts):
        raise DataError(f"{entry}: damaged (the checksum of {FACTS} differs)")
    return facts


def _checksum(facts: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(facts, sort_keys=True).encode())


def _array(folder: Path, name: str, expected: dict[str, int], mapped: bool, check: bool) -> np.ndarray:
    """An array of an entry, read-only."""
    path = folder / f"{name}.npy"
    size = path.stat().st_size
    if size != expected["bytes"]:
        raise DataError(f"{path}: damaged (it has {size:,} bytes, not {expected['bytes']:,})")
    content = _content(path, mapped)
    if check and zlib.crc32(content) != expected["crc32"]:
        raise DataError(f"{path}: damaged (its checksum differs)")
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        start = file.tell()
    return np.frombuffer(content, dtype, math.prod(shape), start).reshape(shape)


def _content(path: Path, mapped: bool) -> bytes | FixedMap:
    with path.open("rb") as file:
        return FixedMap(file.fileno(), 0, access=mmap.ACCESS_READ) if mapped else file.read()


def _is_remote(path: Path) -> bool:
    """Whether another machine could take the file away from under a map, which would end this process."""
    real = os.path.realpath(path)
    try:
        mounts = [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]
    except OSError:  # a system that does not tell
        return False
    within = [mount for mount in mounts if os.path.commonpath((real, mount[0])) == mount[0]]
    return max(within, key=lambda mount: len(mount[0]), default=("", ""))[1].startswith(_REMOTE)
