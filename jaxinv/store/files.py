"""Reading and writing whole files under one folder, each replaced in one step or not at all.

A folder is a local one, or anything that fsspec opens: "s3://bucket/run", "gs://…", "memory://…".
"""

import errno
import os
import shutil
from pathlib import Path
from typing import Protocol

from jaxinv.errors import DataError, InputError, first_line
from jaxinv.utils.files import replace_file

REFUSALS = (OSError, ValueError, NotImplementedError)  # how file systems of fsspec say no
KEPT = "what was finished is kept; put that right and run the same command again"


class Files(Protocol):
    """Files by key: a path inside the folder, with "/" between parts."""

    def path(self, key: str) -> str:
        """A file's name for messages."""
        ...

    def read(self, key: str) -> bytes | None:
        """A file's bytes; None where there is no such file."""
        ...

    def write(self, key: str, data: bytes, *, durable: bool = False) -> None:
        """Put a whole file in place: a reader, or the next run after a crash, sees the old one or the new one."""
        ...

    def remove(self, key: str) -> None:
        """Remove a file, or a folder with all that is in it; nothing happens where there is none."""
        ...

    def names(self) -> list[str] | None:
        """What lies directly in the folder, sorted; None where there is no folder."""
        ...


class LocalFiles:
    """A folder of this machine's file systems.

    Files are put in place by a rename: safe against the death of the process. After a power failure a file may come
    back empty or old unless it was written `durable`; digests tell, and what they refuse is computed again.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def path(self, key: str) -> str:
        return str(self.root / key)

    def read(self, key: str) -> bytes | None:
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise DataError(f"{self.path(key)}: cannot be read ({error.strerror})") from error

    def write(self, key: str, data: bytes, *, durable: bool = False) -> None:
        target = self.root / key
        try:
            try:  # first in the run's own folder: what a crash leaves never lies among the Zarr files
                replace_file(target, data, scratch=self.root, durable=durable)
            except FileNotFoundError:
                target.parent.mkdir(parents=True, exist_ok=True)
                replace_file(target, data, scratch=self.root, durable=durable)
        except OSError as error:
            raise DataError(f"{target}: cannot be written ({error.strerror}); {KEPT}") from error

    def remove(self, key: str) -> None:
        target = self.root / key
        try:
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{target}: cannot be removed ({error.strerror})") from error

    def names(self) -> list[str] | None:
        try:
            return sorted(os.listdir(self.root))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"out: {str(self)!r} is not a folder that can be read ({error.strerror})") from error

    def prepare(self) -> None:
        """Make the folder."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            kind = DataError if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else InputError
            raise kind(f"out: {str(self)!r} cannot be made ({error.strerror})") from error


class RemoteFiles:
    """A folder at a URL, through fsspec. Object stores replace an object in one step, as `write` needs.

    Where one does not (sftp, say), a half-written file is possible, and is caught by its digest.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError:
            raise InputError(f"out: {url!r} is a URL, which needs fsspec (pip install fsspec)") from None
        try:
            self.system, self.root = fsspec.core.url_to_fs(url)
        except (*REFUSALS, ImportError) as error:
            raise InputError(f"out: {url!r} cannot be opened ({first_line(error)})") from error
        self.url = url.rstrip("/")
        self.root = self.root.rstrip("/")

    def __str__(self) -> str:
        return self.url

    def path(self, key: str) -> str:
        return f"{self.url}/{key}"

    def read(self, key: str) -> bytes | None:
        try:
            return self.system.cat_file(f"{self.root}/{key}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except REFUSALS as error:
            raise DataError(f"{self.path(key)}: cannot be read ({first_line(error)})") from error

    def write(self, key: str, data: bytes, *, durable: bool = False) -> None:
        path = f"{self.root}/{key}"
        try:
            try:
                self.system.pipe_file(path, data)
            except FileNotFoundError:  # a file system with real folders
                self.system.makedirs(path.rpartition("/")[0], exist_ok=True)
                self.system.pipe_file(path, data)
        except REFUSALS as error:
            raise DataError(f"{self.path(key)}: cannot be written ({first_line(error)}); {KEPT}") from error

    def remove(self, key: str) -> None:
        try:
            self.system.rm(f"{self.root}/{key}", recursive=True)
        except FileNotFoundError:
            pass
        except REFUSALS as error:
            raise DataError(f"{self.path(key)}: cannot be removed ({first_line(error)})") from error

    def names(self) -> list[str] | None:
        self.system.invalidate_cache()
        try:
            found = self.system.ls(self.root, detail=False)
        except FileNotFoundError:
            return None
        except REFUSALS as error:
            raise InputError(f"out: {self.url!r} cannot be read ({first_line(error)})") from error
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found)

    def prepare(self) -> None:
        """Nothing to do: object stores have no folders."""


def open_files(place: str | os.PathLike[str]) -> LocalFiles | RemoteFiles:
    """The folder at a path or a URL; nothing is made yet."""
    text = os.fspath(place)
    if text.startswith(("file://", "local://")):
        text = text.partition("://")[2]
    if "://" in text:
        return RemoteFiles(text)
    if not text or "\0" in text:
        raise InputError(f"out: {text!r} is not the name of a folder")
    try:
        return LocalFiles(Path(text).expanduser())
    except RuntimeError as error:
        raise InputError(f"out: {text!r} is not the name of a folder ({error})") from None
