"""Files that are written whole or not at all."""

import contextlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

from jaxinv.errors import DataError, InputError

PART = ".part-"  # how the name of a file begins that is not whole yet


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


def replace_file(path: Path, content: bytes, *, scratch: Path | None = None, durable: bool = False) -> None:
    """Put a file in its place in one step: a reader, or the next run after a crash, finds the old one or the new one.

    Args:
      path: the file; its folder is there.
      content: all of it.
      scratch: the folder, on the same file system, where it is written first; by default its own.
      durable: wait until the disk has it, so that a power failure does not take it away either.

    Raises:
      OSError: the disk is full or the folder cannot be written; the old file is as it was.
    """
    part = (scratch or path.parent) / f"{PART}{uuid.uuid4().hex}"
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


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """`replace_file`, with the error in words.

    Raises:
      DataError: the disk is full or the folder cannot be written; the old file is as it was.
    """
    try:
        replace_file(Path(path), content)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, content.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """`write_text` of JSON with an indent, to be read by people too."""
    write_text(path, json.dumps(value, indent=2) + "\n")
