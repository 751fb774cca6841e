"""Writing files whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path

from jaxinv.errors import DataError


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
