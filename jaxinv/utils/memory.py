"""How much memory is free."""

from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")  # where Linux shows a container its own limits


def available_bytes() -> int:
    """Memory that a process can still have without swapping, in bytes: the machine's, within a container's limit.

    >>> 0 < available_bytes() <= psutil.virtual_memory().total
    True
    """
    free = psutil.virtual_memory().available
    try:
        limit = int((CGROUP / "memory.max").read_text())
        use = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        return max(0, min(free, limit - int(use["anon"]) - int(use["shmem"])))  # the rest is caches, which give way
    except (OSError, ValueError, KeyError):  # no container, or "max": it has no limit
        return free
