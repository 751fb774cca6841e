"""How much memory is free."""

from pathlib import Path

import psutil

try:
    import resource
except ImportError:  # Windows
    resource = None

CGROUP = Path("/sys/fs/cgroup")  # where Linux shows a container its own limits


def available_bytes() -> int:
    """Memory that a process can still have without swapping, in bytes: the machine's, within the limits that are set.

    Those are a container's, and `ulimit -v`.

    >>> 0 < available_bytes() <= psutil.virtual_memory().total
    True
    """
    free = psutil.virtual_memory().available
    if (limit := address_limit()) is not None:
        free = max(0, min(free, limit - psutil.Process().memory_info().vms))
    try:
        limit = int((CGROUP / "memory.max").read_text())
        use = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        return max(0, min(free, limit - int(use["anon"]) - int(use["shmem"])))  # the rest is caches, which give way
    except (OSError, ValueError, KeyError):  # no container, or "max": it has no limit
        return free


def address_limit() -> int | None:
    """The most bytes of addresses that this process may have, as `ulimit -v` sets it; None: without a limit."""
    limit = -1 if resource is None else resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit in (-1, getattr(resource, "RLIM_INFINITY", -1)) else limit
