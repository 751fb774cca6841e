"""What computes in this process, and how arrays reach it."""

import os
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinv.engine.setup import cores
from jaxinv.errors import DataError, first_line, whole

Device = Any  # jax.Device, which type checkers take for a variable


class Hardware(NamedTuple):
    """What a study's trials are computed on.

    A CPU is one device, however many JAX has made of it: each core is kept busy by a call of its own. A call lets other
    Python threads go on, and one on a whole core needs no other core to wait for. Accelerators share the trials of each
    call; a second call is under way so that they do not wait for Python.

    Attributes:
      devices: those that share one call's trials.
      calls: how many calls are under way at a time.
    """

    devices: tuple[Device, ...]
    calls: int

    @property
    def cpu(self) -> bool:
        """Whether this is the processor itself."""
        return self.devices[0].platform == "cpu"

    @property
    def units(self) -> int:
        """How many cores or accelerators compute side by side."""
        return self.calls if self.cpu else len(self.devices)

    def __str__(self) -> str:
        return f"{self.units} x {self.devices[0].device_kind} ({self.devices[0].platform})"


def local_hardware(count: int | None = None) -> Hardware:
    """The first `count` of this process's cores or accelerators, or all of them.

    Raises:
      InputError: more than there are.
      DataError: JAX finds none.
    """
    try:
        available = jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # either, where JAX_PLATFORMS names one that is not there
        asked = os.environ.get("JAX_PLATFORMS", "")
        why = first_line(error) if str(error) else "no such device, or the JAX that is installed is not made for it"
        raise DataError(f"devices: JAX finds none (JAX_PLATFORMS={asked!r}: {why})") from None
    if available[0].platform == "cpu":
        most = max(cores(), len(available))
        return Hardware((available[0],), cores() if count is None else whole("devices", count, 1, most))
    return Hardware(tuple(available[: whole("devices", count or len(available), 1, len(available))]), 2)


def in_huge_pages(array: np.ndarray) -> np.ndarray:
    """A copy that a CPU device reads where it is, in large pages where Linux grants them to NumPy (from 4 MB on).

    The images of a batch lie all over the training set: with pages of 4 KB each would need an address of its own to be
    looked up. JAX shares memory that begins at a multiple of 64 bytes, and copies any other.
    """
    room = np.empty(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
