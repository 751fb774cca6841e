"""Reads and writes whole files under one folder, each replaced in one step or not at all.

A folder is a local one, or anything that fsspec opens: "s3://bucket/run", "gs://…", "memory://…".
"""

import os
import threading
import time
from pathlib import Path
from typing import Any, cast

from jaxinv.errors import DataError, InputError
from jaxinv.store import remote
from jaxinv.store.remote import code, is_failure, is_unreachable, refusals, why
from jaxinv.utils.files import PART, create_file, local_path, replace_file

CONFLICT_WAITS = (0.2, 1.0, 3.0)  # seconds until a request that met another one is repeated
KEPT = "what was finished is kept; put that right and run the same command again"

_creating = threading.Lock()


class Unreadable(InputError):
    """A folder that nobody can look into, whatever is in it."""


class Storage:
    """Files by key: a path inside the folder, with "/" between parts. Nothing is made before `prepare`.

    Local files are put in place by a rename: safe against the death of the process. After a power failure a file may
    come back empty or old unless it was written `durable`; digests tell, and what they refuse is computed again.
    Object stores replace an object in one step. Where a file system does neither (sftp, say), a half-written file is
    possible, and is caught by its digest.

    Attributes:
      local: the folder's path, where it is one of this machine's file systems.
    """

    def __init__(self, place: str | os.PathLike[str]) -> None:
        text = os.fspath(place)
        if text.startswith(("file://", "local://")):
            text = text.partition("://")[2]
        self.local: Path | None = None
        self._prepared = False
        if "://" in text:
            self._system, self._root = remote.open_url(text)
            self._name = text.rstrip("/")
            self._buckets = remote.has_buckets(self._system)
            return
        try:
            self.local = Path(text).expanduser()
        except RuntimeError as error:
            raise InputError(f"out: {text!r} is not the name of a folder ({error}); give another one") from None
        if not text or "\0" in text:
            raise InputError(f"out: {text!r} is not the name of a folder; give another one")
        local_path("out", self.local)
        from fsspec.implementations.local import LocalFileSystem  # which runs in memory need not have

        self._system, self._name, self._root = LocalFileSystem(), str(self.local), str(self.local.absolute())
        self._buckets = False

    def __str__(self) -> str:
        return self._name

    def path(self, key: str) -> str:
        """A file's name for messages."""
        return f"{self._name}/{key}" if key else self._name

    def read(self, key: str) -> bytes | None:
        """A file's bytes; None where there is no such file."""
        try:
            return cast(bytes, self._call("cat_file", key, size=remote.READ_BYTES))
        except refusals() as error:
            if code(error) == "NoSuchBucket":
                raise self._refused(error) from error
            if isinstance(error, (FileNotFoundError, NotADirectoryError)):
                return None
            raise DataError(f"{self.path(key)}: cannot be read ({why(error)})") from error

    def write(self, key: str, data: bytes, *, durable: bool = False) -> None:
        """Put a whole file in place: a reader, or the next run after a crash, sees the old one or the new one."""
        try:
            try:
                self._put(key, data, durable)
            except FileNotFoundError:  # a file system with real folders
                if self._buckets:  # no bucket; it is not ours to make
                    raise
                self._make_parent(key)
                self._put(key, data, durable)
        except refusals() as error:
            raise self._unwritten(key, error) from error

    def create(self, key: str, data: bytes) -> bool:
        """Put a whole file in place where there is none: True if this call did, False if the file was there already.

        Of several callers exactly one gets True on local file systems (NFS too), on Google Cloud Storage, and on S3 and
        what speaks its protocol with `If-None-Match`. Elsewhere this looks, writes and reads back: of one process's
        threads exactly one gets True, but two processes that call in the same instant can both get it.

        A client that repeats a request whose answer was lost finds its own file there and gets False: where that
        matters, let `data` name the caller, and read the file.
        """
        try:
            if self.local is not None:
                return self._create_local(self.local, key, data)
            if self._buckets:
                return self._create_object(key, data)
        except refusals() as error:
            raise self._unwritten(key, error) from error
        with _creating:
            if self.read(key) is not None:
                return False
            self.write(key, data)
            return self.read(key) == data

    def remove(self, key: str) -> None:
        """Remove a file, or a folder with all that is in it; nothing happens where there is none."""
        try:
            self._system.invalidate_cache()
            self._call("rm", key, recursive=True)
        except FileNotFoundError:
            pass
        except refusals() as error:
            raise DataError(f"{self.path(key)}: cannot be removed ({why(error)})") from error

    def names(self, key: str = "") -> list[str]:
        """What lies directly in the folder, or in one of its folders, sorted; nothing where there is no such folder."""
        key = key.rstrip("/")
        self._system.invalidate_cache()
        try:
            if self.local is not None:
                return sorted(os.listdir(self.local / key))
            found = self._call("ls", key, detail=True)
        except refusals() as error:
            if isinstance(error, (FileNotFoundError, NotADirectoryError)) and code(error) != "NoSuchBucket":
                return []
            if key:
                raise DataError(f"{self.path(key)}: cannot be read ({why(error)})") from error
            if self.local is None and is_failure(error):
                raise DataError(f"out: {str(self)!r} cannot be read ({why(error)})") from error
            raise self._refused(error) from error
        # Some tools make an empty object that stands for a folder: "bucket/run/", which is listed in the folder itself.
        itself = self._place(key)
        names = [
            entry["name"].rstrip("/")
            for entry in found
            if entry["name"] != f"{itself}/" and (entry["name"] != itself or entry["type"] == "file")
        ]
        return sorted({name.rpartition("/")[2] for name in names})

    def prepare(self) -> None:
        """Make the folder, where there are folders."""
        if self.local is None:
            return
        try:
            self.local.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            kind = DataError if is_failure(error) else InputError
            raise kind(f"out: {str(self)!r} cannot be made ({error.strerror})") from error
        self._prepared = True

    def check_there(self, key: str) -> None:
        """Refuse to go on without a file that was there when the run began.

        Raises:
          DataError: it is gone, and mostly the whole folder with it.
        """
        there = self.read(key) is not None if self.local is None else (self.local / key).exists()
        if not there:
            raise DataError(
                f"{self.path(key)}: is not there any more; if the folder was renamed or moved, put it back as "
                f"{str(self)!r}, with the finished trials in it, and run the same command again; if it was removed, "
                "that computes all trials anew"
            )

    def sweep(self) -> None:
        """Remove what processes that died left half written."""
        for name in self.names():
            if name.startswith(PART):
                self.remove(name)

    def _create_local(self, root: Path, key: str, data: bytes) -> bool:
        try:
            return create_file(root / key, data, scratch=root)
        except FileNotFoundError:
            self._make_parent(key)
            return create_file(root / key, data, scratch=root)

    def _create_object(self, key: str, data: bytes) -> bool:
        for seconds in (*CONFLICT_WAITS, None):
            try:
                self._call("pipe_file", key, data, mode="create", size=len(data))
                return True
            except FileExistsError:
                return False
            except OSError as error:  # some servers say that it is there in words of their own
                if isinstance(error, (FileNotFoundError, PermissionError)) or is_unreachable(error):
                    raise
                if self.read(key) is not None:
                    return False
                if seconds is None or code(error) != "ConditionalRequestConflict":  # another request was under way
                    raise
                time.sleep(seconds)
        raise AssertionError

    def _make_parent(self, key: str) -> None:
        if self._prepared:
            self.check_there("")  # what was prepared is not made a second time, beside what it held
        self._system.makedirs(self._place(key).rpartition("/")[0], exist_ok=True)

    def _put(self, key: str, data: bytes, durable: bool) -> None:
        if self.local is None:
            self._call("pipe_file", key, data, size=len(data))
        else:  # first in the run's own folder: what a crash leaves never lies among the Zarr files
            replace_file(self.local / key, data, scratch=self.local, durable=durable)

    def _call(self, name: str, key: str, *args: Any, **options: Any) -> Any:
        return remote.call(self._system, name, self._place(key), *args, **options)

    def _place(self, key: str) -> str:
        return f"{self._root}/{key}" if key else self._root

    def _refused(self, error: Exception) -> InputError:
        return Unreadable(f"out: {str(self)!r} cannot be read ({why(error)}); give another folder")

    def _unwritten(self, key: str, error: Exception) -> DataError:
        return DataError(f"{self.path(key)}: cannot be written ({why(error)}); {KEPT}")
