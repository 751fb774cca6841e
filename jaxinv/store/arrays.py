"""The arrays of a run, written and read chunk by chunk by zarr-python, which is imported when the first are opened."""

import contextlib
import threading
from collections.abc import Iterator

import numpy as np

from jaxinv.store.files import ROOT, Damaged
from jaxinv.store.storage import Storage

_settings = threading.Lock()


@contextlib.contextmanager
def writing_all() -> Iterator[None]:
    """Arrays that are made or opened here write chunks of fill values too: without such a file something is missing.

    Zarr's settings are the whole process's, so one thread at a time has its own.
    """
    import zarr

    with _settings, zarr.config.set({"array.write_empty_chunks": True}):
        yield


class Arrays:
    """The arrays of a run, chunk by chunk. Each is cut along one axis at most, so a number says which chunk."""

    def __init__(self, storage: Storage, root: bytes) -> None:
        import zarr

        from jaxinv.store.run_store import RunStore

        self.storage = storage
        with writing_all():
            group = zarr.open_group(RunStore(storage, root), mode="r+", zarr_format=3, use_consolidated=True)
            members = group.members(max_depth=None)
        self._arrays = {name: member for name, member in members if isinstance(member, zarr.Array)}

    def key(self, name: str, index: int = 0) -> str:
        """The file of a chunk."""
        return self._chunk(name, index)[0]

    def read(self, name: str, index: int = 0) -> np.ndarray:
        """A chunk's values, as far as the array reaches; `Damaged` where its file is missing or not as written."""
        key, region = self._chunk(name, index)
        try:
            return np.asarray(self._arrays[name][region])
        except (ValueError, RuntimeError):  # by zarr-python's checksum, or its decoders
            raise Damaged(key, "is truncated or altered") from None

    def write(self, name: str, index: int, values: np.ndarray) -> None:
        """Replace a chunk, as far as the array reaches."""
        self._arrays[name][self._chunk(name, index)[1]] = values

    def put(self, name: str, values: np.ndarray) -> None:
        """Write an array of one chunk, unless it is there already."""
        try:
            if np.array_equal(self.read(name), values, equal_nan=True):
                return
        except Damaged:
            pass
        self.write(name, 0, values)

    def remove(self, name: str, index: int = 0) -> None:
        """Forget a chunk; nothing happens where there is none."""
        self.storage.remove(self.key(name, index))

    def _chunk(self, name: str, index: int) -> tuple[str, tuple[slice, ...]]:
        array = self._arrays[name]
        dims = getattr(array.metadata, "dimension_names", None) or ()
        axis = dims.index("trial") if "trial" in dims else 0
        coordinates = ["0"] * array.ndim
        coordinates[axis] = str(index)
        length = array.chunks[axis]
        region = (slice(None),) * axis + (slice(index * length, (index + 1) * length),)
        return f"{ROOT}/{name}/c.{'.'.join(coordinates)}", region
