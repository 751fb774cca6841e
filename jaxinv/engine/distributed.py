"""Processes that JAX has to join, as on a TPU pod: who this one is among them.

Each is a worker that shares the run through its folder; nothing of the training crosses the network.
"""

import re
import socket

import jax

from jaxinv.engine.launchers import Share
from jaxinv.errors import DataError, InputError, first_line, whole

HEARTBEAT_SECONDS = 30  # after which a process that has died is missed, and JAX ends the others
WAIT_SECONDS = 600


def start(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Join the other processes; before JAX is first used.

    Without arguments JAX finds its peers itself, on SLURM, TPU pods, Kubernetes and under MPI.

    Raises:
      InputError: some of the three are given but not all, they make no sense, or there is nothing to find.
      DataError: the coordinator does not answer.
    """
    given = [value is not None for value in (coordinator, processes, process)]
    if any(given) and not all(given):
        raise InputError("distributed: give all of --coordinator, --num-processes and --process-id, or none of them")
    if coordinator is not None:
        _check_address(coordinator)
    if processes is not None:
        whole("num_processes", processes)
        whole("process_id", process, 0, processes - 1)
    try:
        jax.distributed.initialize(coordinator, processes, process, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    except ValueError as error:
        raise InputError(
            f"distributed: no cluster found ({error}); give --coordinator HOST:PORT, --num-processes and --process-id"
        ) from None
    except RuntimeError as error:  # of which JAX's own is one
        raise DataError(f"distributed: {coordinator or 'the coordinator'} cannot be joined ({error})") from None


def _check_address(coordinator: str) -> None:
    """Refuse what is no address, or a host that this machine does not find: JAX would wait for minutes, and abort."""
    found = re.fullmatch(r"(\[[^\s\[\]]+\]|[^\s:\[\]]+):(\d{1,5})", coordinator, re.ASCII)
    if found is None or not 0 < int(found[2]) < 2**16:
        raise InputError(f"coordinator: {coordinator!r} is not allowed; give HOST:PORT with a port from 1 to 65535")
    try:
        socket.getaddrinfo(found[1].strip("[]"), int(found[2]))
    except (OSError, UnicodeError) as error:  # UnicodeError: a part of the name is too long
        why = error.strerror if isinstance(error, OSError) else "not the name of a host"
        raise DataError(f"coordinator: the host of {coordinator!r} is not found ({why}); give another one") from None


def joined_share() -> Share | None:
    """This process among those that have joined; None where it is alone."""
    count = jax.process_count()
    return (jax.process_index(), count) if count > 1 else None


def wait_for_all() -> None:
    """Stay until every process is here: JAX ends all of them when one leaves.

    Raises:
      DataError: one of them is gone, or does not come in time; what it finished is stored.
    """
    if jax.process_count() == 1:
        return
    from orbax.checkpoint import multihost

    barrier = multihost.get_barrier_sync_fn()
    try:
        barrier(key="jaxinv: the run is finished", timeout_ms=1000 * WAIT_SECONDS)
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        raise DataError(f"distributed: a process is gone ({first_line(error)}); run the same command again") from None
