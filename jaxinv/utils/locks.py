"""A lock between the processes of a machine, and of machines that share a file system with locks."""

import contextlib
import errno
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOG = logging.getLogger(__name__)
NO_LOCKS = (
    errno.ENOLCK,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EINVAL,
)  # as file systems without say so
SILENT_SECONDS = 3.0  # of waiting, before a line says who is waited for
_POLL_SECONDS = 0.05


@contextlib.contextmanager
def locked(path: Path, *, seconds: float, what: str) -> Iterator[bool]:
    """Hold the lock that a file stands for; at most so many seconds are waited for it.

    The lock is the kernel's and ends with its holder, however that ends. The file is removed with the lock.

    Args:
      path: the file; its folder is there.
      seconds: how long to wait.
      what: what the holder does, for the line that is logged after some seconds: "preparing tfds:mnist".

    Yields:
      True: this process has it, or the file system knows no locks. False: another process kept it all the time.

    Raises:
      OSError: the file cannot be made.
    """
    file = _wait_for(path, seconds, what)
    try:
        yield file is not None
    finally:
        if file is not None:
            with contextlib.suppress(OSError):
                path.unlink()  # before the lock goes: whoever waits for it finds out that the file is another one
            os.close(file)


def myself() -> str:
    """This process, as others' messages name it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def holder_of(path: Path) -> str:
    """Who has the lock, as it says itself."""
    try:
        return path.read_text(errors="replace")[:200].strip() or "another process"
    except OSError:
        return "another process"


def _wait_for(path: Path, seconds: float, what: str) -> int | None:
    start, said = time.monotonic(), False
    while True:
        file = _open(path)
        try:
            if _take(file) and _is_still(path, file):
                _sign(file)
                return file
        except OSError:
            os.close(file)
            raise
        os.close(file)
        waited = time.monotonic() - start
        if waited >= seconds:
            return None
        if waited >= SILENT_SECONDS and not said:
            said = True
            LOG.warning("waiting for %s, which is %s", holder_of(path), what)
        time.sleep(_POLL_SECONDS)


def _open(path: Path) -> int:
    flags = getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except PermissionError:  # another user's, who may let others read it only, which is enough for a lock
        try:
            return os.open(path, os.O_RDONLY | flags)
        except FileNotFoundError:
            pass
        raise


def _take(file: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True


def _is_still(path: Path, file: int) -> bool:
    """Whether the file has not been removed since it was opened, by the one who held the lock then."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _sign(file: int) -> None:
    with contextlib.suppress(OSError):  # a courtesy to those who wait: a full disk must not stop the work
        os.ftruncate(file, 0)
        os.write(file, myself().encode())
