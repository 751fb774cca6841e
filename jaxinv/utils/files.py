"""Files that are written whole or not at all."""

import contextlib
import errno
import glob
import json
import os
import socket
import uuid
from pathlib import Path
from typing import Any

import psutil

from jaxinv.errors import DataError, InputError

PART = ".part-"  # how the name of a file begins that is not whole yet
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)  # how file systems without hard links say so


def local_path(field: str, path: str | os.PathLike[str]) -> Path:
    """The path that a field gives, whether there is something or not.

    Raises:
      InputError: nothing can have this name: it is empty, too long, or holds a NUL.

    >>> local_path("out", "a" * 300)
    Traceback (most recent call last):
    jaxinv.errors.InputError: out: a path of 300 letters is not allowed (File name too long); give another one
    """
    text = os.fspath(path)
    if not text or "\0" in text:
        raise InputError(f"{field}: {text!r} is not allowed; give a path")
    try:
        os.lstat(text)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            many = f"a path of {len(text):,} letters"
            raise InputError(f"{field}: {many} is not allowed ({error.strerror}); give another one") from None
    return Path(path)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """The folder of an `out` option, made where it is not there.

    Raises:
      InputError: it cannot be made, or not be written to.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"out: {os.fspath(path)!r} cannot be made ({reason}); give another folder") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"out: {os.fspath(path)!r} cannot be written to; give another folder")
    return Path(path)


def replace_file(
    path: Path, content: bytes, *, scratch: Path | None = None, durable: bool = False, owner: str = ""
) -> None:
    """Put a file in its place in one step: a reader, or the next run after a crash, finds the old one or the new one.

    Args:
      path: the file; its folder is there.
      content: all of it.
      scratch: the folder, on the same file system, where it is written first; by default its own.
      durable: wait until the disk has it, so that a power failure does not take it away either.
      owner: how the name goes on under which it is written first.

    Raises:
      OSError: the disk is full or the folder cannot be written; the old file is as it was.
    """
    part = (scratch or path.parent) / f"{PART}{owner}{uuid.uuid4().hex}"
    try:
        with part.open("xb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def create_file(path: Path, content: bytes, *, scratch: Path | None = None) -> bool:
    """Put a file in its place where there is none: True if this call did, False if something is there already.

    A reader finds all of it or nothing, and of several callers exactly one gets True, on other machines and NFS too.
    Where a file system has no hard links (FAT, some of FUSE), a reader may find the beginning of the file.

    Args:
      path: the file; its folder is there.
      content: all of it.
      scratch: the folder, on the same file system, where it is written first; by default its own.

    Raises:
      OSError: the disk is full or the folder cannot be written; nothing is there.
    """
    part = (scratch or path.parent) / f"{PART}{uuid.uuid4().hex}"
    try:
        part.write_bytes(content)
        os.link(part, path)
    except FileExistsError:
        return part.stat().st_nlink > 1  # NFS: made, but the answer got lost and the request was sent again
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return _create_in_place(path, content)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return True


def _create_in_place(path: Path, content: bytes) -> bool:
    try:
        file = path.open("xb")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(content)
    except OSError:
        path.unlink()
        raise
    return True


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """`replace_file`, with the error in words. What processes of this machine left half written beside it is removed.

    Raises:
      DataError: the disk is full or the folder cannot be written; the old file is as it was.
    """
    path, host = Path(path), f"{socket.gethostname()}-"
    with contextlib.suppress(OSError):  # of another user, say: that does not keep this file from being written
        for part in path.parent.glob(f"{PART}{glob.escape(host)}*"):
            process = part.name.removeprefix(PART + host).partition("-")[0]
            if process.isdecimal() and not psutil.pid_exists(int(process)):
                part.unlink(missing_ok=True)
    try:
        replace_file(path, content, owner=f"{host}{os.getpid()}-")
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, content.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """`write_text` of JSON with an indent, to be read by people too."""
    write_text(path, json.dumps(value, indent=2) + "\n")
