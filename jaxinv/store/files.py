"""Reading and writing whole files under one folder, each replaced in one step or not at all."""

import contextlib
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from jaxinv.errors import DataError, InputError

SCRATCH = ".tmp"


class Folder:
    """A local folder. Keys are paths inside it, with "/" between parts."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.root = Path(path).expanduser()

    def __str__(self) -> str:
        return str(self.root)

    def path(self, key: str) -> str:
        """A key as messages name it."""
        return str(self.root / key)

    def read(self, key: str) -> bytes | None:
        """A file's bytes; None where there is no such file."""
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise DataError(f"{self.path(key)}: cannot be read ({error.strerror})") from error

    def write(self, key: str, data: bytes) -> None:
        """Put a whole file in place: a reader, or the next run after a crash, sees the old one or the new one.

        The rename makes that so for a process that dies. After a power failure a file may come back empty or old,
        because nothing waits for the disk here; digests tell, and what they refuse is computed again.
        """
        target = self.root / key
        # A folder of its own on the same file system: leftovers of a crash never lie among the Zarr files.
        part = self.root / SCRATCH / uuid.uuid4().hex
        try:
            try:
                self._create(part, data)
            except FileNotFoundError:
                part.parent.mkdir(parents=True, exist_ok=True)
                self._create(part, data)
            try:
                part.replace(target)
            except FileNotFoundError:
                target.parent.mkdir(parents=True, exist_ok=True)
                part.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise DataError(
                f"{target}: cannot be written ({error.strerror}); what was finished is kept: put that right and run the"
                " same command again"
            ) from error

    @staticmethod
    def _create(path: Path, data: bytes) -> None:
        with path.open("xb") as file:
            file.write(data)

    def remove(self, key: str) -> None:
        """Remove a file, or a folder with all that is in it; nothing happens where there is none."""
        target = self.root / key
        try:
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{target}: cannot be removed ({error.strerror})") from error

    def names(self) -> list[str] | None:
        """What lies directly in the folder, sorted; None where there is no folder."""
        try:
            return sorted(os.listdir(self.root))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"out: {str(self)!r} is not a folder that can be read ({error.strerror})") from error

    def zarr_source(self) -> str:
        """Where xarray opens the results."""
        return self.path("results.zarr")


def open_folder(place: str | os.PathLike[str]) -> Any:
    """The folder at a path."""
    return Folder(place)
