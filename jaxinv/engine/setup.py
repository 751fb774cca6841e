"""What has to be settled before JAX is first used: where compiled programs are kept.

The command line does this; a library must not, so `ji.run` leaves it to its caller.
"""

import logging
import os
from pathlib import Path

from jaxinv.errors import DataError, InputError
from jaxinv.utils.cache import own_cache_folder
from jaxinv.utils.memory import address_limit
from jaxinv.utils.progress import say

LEAST_ADDRESSES = 2 * 2**30  # bytes: JAX, its threads and its compiler; most are never used


def configure(*, cache: bool = True) -> None:
    """Set up JAX for this process; call before anything is compiled.

    Compiled programs are kept per user, since whoever can write them can run code as their reader.
    """
    count = os.environ.get("JAX_NUM_CPU_DEVICES", "1")
    if not count.lstrip("-").isdecimal():
        raise InputError(f"JAX_NUM_CPU_DEVICES: {count!r} is not allowed; give a whole number")
    limit = address_limit()
    if limit is not None and limit < LEAST_ADDRESSES:
        raise DataError(
            f"memory: ulimit -v allows {limit / 2**30:.1f} GiB, with which JAX aborts; "
            f"allow {LEAST_ADDRESSES / 2**30:.0f} GiB or more"
        )
    import jax

    folder = cache_folder() if cache else None
    logging.getLogger(__name__).debug("compiled programs: %s", folder or "not kept")
    if folder is None:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_folder() -> Path | None:
    """The user's own folder for compiled programs, or None, with a line on standard error, where there can be none."""
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    try:
        return own_cache_folder("programs")
    except OSError as error:
        say(f"jaxinv: no compile cache: {error}")
        return None
