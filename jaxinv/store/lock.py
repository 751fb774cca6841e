"""One run at a time in a folder.

On a file system the lock is the kernel's (`flock`): it ends with the process that holds it, however that ends, so a
crash leaves nothing behind. Linux passes it on to an NFS server, so it holds between machines too; a file system that
knows no locks is used without one, and a note says so.

Workers that share a run hold the lock together (`store.workers`).

Object stores have no locks. There a small object stands for one: it names its holder and is renewed as the run writes,
at most every minute; ten minutes old, it counts for nothing. Where the store creates objects exclusively
(`Storage.create`), one of several that start in the same instant gets it, and one of several that take over a lease
that is too old. Two can hold it where the store cannot do that, where clocks differ by minutes, and where a process
stands still for ten minutes and goes on: it learns of the other when it next renews. They then compute the same trials
twice; a block that their files mix in different bits is caught by its digests and computed again.
"""

import errno
import hashlib
import json
import os
import socket
import time
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil

from jaxinv.errors import DataError
from jaxinv.store.storage import Storage
from jaxinv.utils.files import PART
from jaxinv.utils.locks import NO_LOCKS, myself

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"
LEASE_SECONDS = 600
RENEW_SECONDS = 60
LEASE_WAITS = (0.0, 0.1, 0.2, 0.4, 0.8)  # seconds before each look at a lease that others are taking over or release


class Lock:
    """A lock that is held. This one where there is nothing to hold."""

    note: str | None = None

    def renew(self) -> None:
        """Say that its holder is still there. The kernel knows without."""

    def release(self) -> None:
        """Let others have it."""


class FileLock(Lock):
    """A kernel lock on a file of a folder: held alone, or together with others."""

    def __init__(self, root: Path) -> None:
        self.path, self._root = root / LOCK, root
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        try:
            self._file = os.open(self.path, flags, 0o666)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be opened as a lock ({error.strerror})") from error

    def take(self, *, shared: bool = False) -> bool:
        """Whether the kernel gives the lock now. True where there are no locks, which a note says then."""
        if fcntl is None:
            self.note = f"{self._root}: this system has no file locks; do not start a second run in this folder"
            return True
        try:
            fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise DataError(f"{self.path}: cannot be locked ({error.strerror})") from error
            self.note = f"{self._root}: this file system has no locks; do not start a second run in this folder"
        return True

    def holder(self) -> str:
        """Who signed last."""
        return os.pread(self._file, 200, 0).decode(errors="replace").strip() or "another process"

    def sign(self, holder: str) -> None:
        """Tell others who holds the lock."""
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, holder.encode(), 0)
        except OSError as error:
            # The name is a courtesy to others: a full disk must not keep a finished run from being read.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise DataError(f"{self.path}: cannot be written ({error.strerror})") from error

    def release(self) -> None:
        """Close the file; it stays where it is, since removing it would let two hold locks of one name."""
        os.close(self._file)


class Lease(Lock):
    """An object that stands for a lock where there are none.

    It is created where there is none: of several that start in the same instant one manages that. A lease that is too
    old is replaced by whoever creates its gate, a file that is named after the object and its bytes; and only while the
    object still holds those bytes, so that who comes late never replaces the lease of who came first.
    """

    def __init__(self, storage: Storage, holder: str = "") -> None:
        self._storage, self._token, self._renewed = storage, uuid.uuid4().hex, 0.0
        self._holder = holder or myself()
        for seconds in LEASE_WAITS:
            time.sleep(seconds)
            if self._create(LOCK):
                return
            data = storage.read(LOCK)
            if data is None:  # released since
                continue
            if (found := parse(data)) and alive(found):
                left = int(LEASE_SECONDS - (time.time() - found["time"])) + 1
                hint = f"if that was killed: in {left} s, or once {LOCK} there is removed"
                raise in_use(storage, f"{found['holder']} ({hint})")
            if self._replace(LOCK, data):
                return
        raise in_use(storage, f"a process that is taking it over (if that was killed: in {LEASE_SECONDS} s)")

    def renew(self) -> None:
        """Refresh the object when it is a minute old."""
        age = time.time() - self._renewed
        if age < RENEW_SECONDS:
            return
        data = self._storage.read(LOCK)
        if data is None:  # removed by somebody who took this run for dead
            kept = self._create(LOCK)
        elif not self._is_own(data):
            kept = False
        elif age >= LEASE_SECONDS:  # others may be replacing it
            kept = self._replace(LOCK, data)
        else:
            self._storage.write(LOCK, self._sign())
            kept = True
        if not kept:
            found = parse(self._storage.read(LOCK))
            raise in_use(self._storage, found["holder"] if found else "another process")

    def release(self) -> None:
        """Remove the object, if it is still this run's."""
        expired = time.time() - self._renewed >= LEASE_SECONDS
        with suppress(DataError):  # a lease that cannot be removed ages; what the run says matters more
            data = self._storage.read(LOCK)
            if data is not None and self._is_own(data) and (not expired or self._replace(LOCK, data)):
                self._storage.remove(LOCK)

    def _replace(self, key: str, old: bytes) -> bool:
        """Put this lease in the place of one that is too old; False where another process does, or has renewed it."""
        gate = f"{PART}lease-{hashlib.sha256(key.encode() + old).hexdigest()[:32]}"
        if not self._create(gate):
            data = self._storage.read(gate)
            if data is None or ((found := parse(data)) and alive(found)) or not self._replace(gate, data):
                return False
        try:
            if self._storage.read(key) != old:
                return False
            self._storage.write(key, self._sign())
            return True
        finally:
            self._storage.remove(gate)

    def _create(self, key: str) -> bool:
        if self._storage.create(key, self._sign()):
            return True
        data = self._storage.read(key)
        return data is not None and self._is_own(data)  # made, but the answer got lost

    def _is_own(self, data: bytes) -> bool:
        found = parse(data)
        return found is not None and found["token"] == self._token

    def _sign(self) -> bytes:
        self._renewed = time.time()
        return signature(self._holder, self._token, self._renewed)


def acquire(storage: Storage) -> Lock:
    """Lock a folder for a run; DataError where another one is using it."""
    if storage.local is None:
        return Lease(storage)
    with ExitStack() as stack:
        lock = FileLock(storage.local)
        stack.callback(lock.release)
        if not lock.take():
            raise in_use(storage, lock.holder())
        lock.sign(myself())
        stack.pop_all()
    return lock


def signature(holder: str, token: str, now: float) -> bytes:
    """What this process writes into a lease, or the file of a worker; `parse` reads it."""
    who = {"holder": holder, "host": socket.gethostname(), "pid": os.getpid()}
    return json.dumps({**who, "token": token, "time": now}).encode()


def parse(data: bytes | None) -> dict[str, Any] | None:
    """What a lease, or the file of a worker, says; None where it is damaged."""
    try:
        found = json.loads(data or b"null")
    except ValueError:
        return None
    return found if isinstance(found, dict) and {"time", "token", "holder", "host", "pid"} <= set(found) else None


def alive(found: dict[str, Any]) -> bool:
    """Whether the process that wrote it counts as being there."""
    return time.time() - found["time"] < LEASE_SECONDS and not dead(found)


def dead(found: dict[str, Any]) -> bool:
    """Whether the process that wrote it is known to have ended: on this machine one can ask."""
    if found["host"] != socket.gethostname():
        return False
    try:
        return psutil.Process(found["pid"]).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:  # somebody else's, and alive
        return False


def in_use(folder: Any, holder: str) -> DataError:
    """The error for a folder that somebody else is writing to."""
    return DataError(f"out: {str(folder)!r} is in use by {holder}; wait until that has ended, or give another folder")
