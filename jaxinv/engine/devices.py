"""The devices of this process, and how arrays reach them."""

import os

import jax
import numpy as np

from jaxinv.engine.trial_batch import Device
from jaxinv.errors import DataError, first_line, whole


def local_devices(count: int | None) -> tuple[Device, ...]:
    """The first `count` of this process's devices, or all of them.

    Raises:
      InputError: more devices than there are.
      DataError: JAX finds none.
    """
    try:
        available = jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # either, where JAX_PLATFORMS names one that is not there
        asked = os.environ.get("JAX_PLATFORMS", "")
        raise DataError(f"devices: JAX finds none (JAX_PLATFORMS={asked!r}: {first_line(error)})") from None
    if count is None:
        return tuple(available)
    hint = "; JAX_NUM_CPU_DEVICES makes more of a CPU" if available[0].platform == "cpu" else ""
    return tuple(available[: whole("devices", count, 1, len(available), hint)])


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
