"""One run at a time in a folder.

On a file system the lock is the kernel's (`flock`): it ends with the process that holds it, however that ends, so a
crash leaves nothing behind. Linux passes it on to an NFS server, so it holds between machines too; a file system that
knows no locks is used without one, and a note says so.

The processes of one distributed run share the folder: the first holds the lock, the others hold, together, a second one
that says that somebody of this run is still there, should the first die before them.

Object stores have no locks. There a small object stands for one: it names its holder and is renewed as the run writes,
at most every minute; ten minutes old, it counts for nothing. It is no more than a courtesy: two runs that start in the
same instant can both get it. They then compute the same trials twice; a block that their files mix in different bits is
caught by its digests and computed again.
"""

import errno
import json
import os
import socket
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jaxinv.errors import DataError
from jaxinv.store.storage import Storage

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"
MEMBERS = ".members"
INVENTORY = ".plan.json"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
LEASE_SECONDS = 600
RENEW_SECONDS = 60


class Lock:
    """A lock that is held. This one where there is nothing to hold."""

    note: str | None = None

    def renew(self) -> None:
        """Say that its holder is still there. The kernel knows without."""

    def release(self) -> None:
        """Let others have it."""


class FileLock(Lock):
    """A kernel lock on a file of a folder, alone or shared with others of the same run."""

    def __init__(self, root: Path, name: str = LOCK, *, shared: bool = False) -> None:
        path = root / name
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        try:
            self._file = os.open(path, flags, 0o666)
        except OSError as error:
            raise DataError(f"{path}: cannot be opened as a lock ({error.strerror})") from error
        if fcntl is None:
            self.note = f"{root}: this system has no file locks; do not start a second run in this folder"
            return
        try:
            fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(self._file)
            raise in_use(root, holder) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(self._file)
                raise DataError(f"{path}: cannot be locked ({error.strerror})") from error
            self.note = f"{root}: this file system has no locks; do not start a second run in this folder"
        if name == LOCK:
            try:
                self._sign()
            except OSError as error:
                os.close(self._file)
                raise DataError(f"{path}: cannot be written ({error.strerror})") from error

    def _sign(self) -> None:
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, myself().encode(), 0)
        except OSError as error:
            # The name is a courtesy to others: a full disk must not keep a finished run from being read.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise

    def release(self) -> None:
        """Close the file; it stays where it is, since removing it would let two hold locks of one name."""
        os.close(self._file)


class Lease(Lock):
    """An object that stands for a lock where there are none."""

    def __init__(self, storage: Storage) -> None:
        self._storage, self._token, self._renewed = storage, uuid.uuid4().hex, 0.0
        found = self._read()
        if found and time.time() - found["time"] < LEASE_SECONDS and not _dead(found):
            left = int(LEASE_SECONDS - (time.time() - found["time"])) + 1
            hint = f"if that was killed: in {left} s, or once {LOCK} there is removed"
            raise in_use(storage, f"{found['holder']} ({hint})")
        self._write()

    def renew(self) -> None:
        """Refresh the object when it is a minute old."""
        if time.time() - self._renewed < RENEW_SECONDS:
            return
        found = self._read()
        if found and found["token"] != self._token:
            raise in_use(self._storage, found["holder"])
        self._write()

    def release(self) -> None:
        """Remove the object, if it is still this run's."""
        found = self._read()
        if found and found["token"] == self._token:
            self._storage.remove(LOCK)

    def _read(self) -> dict[str, Any] | None:
        data = self._storage.read(LOCK)
        try:
            found = json.loads(data or b"null")
        except ValueError:
            return None
        return found if isinstance(found, dict) and {"time", "token", "holder", "host", "pid"} <= set(found) else None

    def _write(self) -> None:
        self._renewed = time.time()
        who = {"holder": myself(), "host": socket.gethostname(), "pid": os.getpid()}
        self._storage.write(LOCK, json.dumps({**who, "token": self._token, "time": self._renewed}).encode())


def acquire(storage: Storage) -> Lock:
    """Lock a folder for a run; DataError where another run, or what is left of its processes, is using it."""
    if storage.local is None:
        lease = Lease(storage)
        storage.remove(INVENTORY)
        return lease
    with ExitStack() as stack:
        lock = FileLock(storage.local)
        stack.callback(lock.release)
        # In this order: who joins an earlier run after its inventory has gone sees that, and who did before is seen.
        storage.remove(INVENTORY)
        if (storage.local / MEMBERS).exists():
            FileLock(storage.local, MEMBERS).release()
        stack.pop_all()
    return lock


def join(storage: Storage) -> Lock:
    """Hold a folder together with the other processes of a run, of which the first has locked it."""
    return FileLock(storage.local, MEMBERS, shared=True) if storage.local else Lock()


def _dead(found: dict[str, Any]) -> bool:
    if found["host"] != socket.gethostname() or os.name != "posix":  # elsewhere, signal 0 is no question but the end
        return False
    try:
        os.kill(found["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's, and alive
        return False
    return False


def myself() -> str:
    """This process, as others' messages name it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def in_use(folder: Any, holder: str) -> DataError:
    """The error for a folder that somebody else is writing to."""
    return DataError(f"out: {str(folder)!r} is in use by {holder}; wait until that has ended, or give another folder")
