"""Writing files whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path

from jaxinv.errors import DataError, InputError


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


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Put a file in its place in one step: a reader, or a crash, finds the old one or the new one.

    Raises:
      DataError: the disk is full or the folder cannot be written; the old file is as it was.
    """
    path = Path(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            file.write(content)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, content.encode())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
