"""Many processes, one run: who this one is among them, and where they wait for each other.

Each process computes its own trials on its own devices and writes its own blocks; nothing of the training crosses the
network. JAX's own start-up serves for membership, for one shared name of the launch, and for two barriers.
"""

import re
import secrets
from dataclasses import dataclass

import jax
import numpy as np

from jaxinv.errors import DataError, InputError, whole

HEARTBEAT_SECONDS = 30  # after which a process that has died is missed, and the others stop waiting for it


@dataclass(frozen=True)
class Membership:
    """This process among those of one launch."""

    index: int
    count: int
    token: str  # a name of the launch that all its processes share


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
    if coordinator is not None and not re.fullmatch(r".+:\d+", coordinator):
        raise InputError(f"coordinator: {coordinator!r} is not allowed; give HOST:PORT")
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


def membership() -> Membership:
    """Who this process is; alone where nothing was started."""
    count = jax.process_count()
    if count == 1:
        return Membership(0, 1, "")
    from jax.experimental import multihost_utils

    words = np.frombuffer(secrets.token_bytes(16), np.uint32)
    shared = np.asarray(multihost_utils.broadcast_one_to_all(words))  # process 0's
    return Membership(jax.process_index(), count, shared.tobytes().hex())


def barrier(name: str, members: Membership) -> None:
    """Wait until every process is here.

    Raises:
      DataError: one of them is gone; what it finished is stored.
    """
    if members.count == 1:
        return
    from jax.experimental import multihost_utils

    try:
        multihost_utils.sync_global_devices(name)
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        raise DataError(f"distributed: a process is gone ({error}); run the same command again") from None
