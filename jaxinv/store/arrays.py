"""The arrays of a run, written and read chunk by chunk by zarr-python."""

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
import zarr
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import MemoryStore

from jaxinv.store.storage import Storage

ROOT = "results.zarr"

_settings = threading.Lock()


@contextlib.contextmanager
def writing_all() -> Iterator[None]:
    """Arrays that are made or opened here write chunks of fill values too: without such a file something is missing.

    Zarr's settings are the whole process's, so one thread at a time has its own.
    """
    with _settings, zarr.config.set({"array.write_empty_chunks": True}):
        yield


class Damaged(Exception):
    """A file is not what was written: its key, and what is wrong with it."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"{key}: {why}")
        self.key, self.why = key, why


class Missing(Damaged):
    """A file is not there."""

    def __init__(self, key: str) -> None:
        super().__init__(key, "is missing")


class RunStore(MemoryStore):
    """What zarr-python sees of a run: the root's metadata, which list every array, from memory; chunks from its folder.

    So arrays are written and read as they should be, whatever has become of their metadata on disk.
    """

    def __init__(self, storage: Storage, root: bytes) -> None:
        super().__init__({"zarr.json": default_buffer_prototype().buffer.from_bytes(root)})
        self._storage = storage

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The root's metadata, or a chunk; `Missing` where there is none, which zarr-python would fill."""
        if key == "zarr.json":
            return self._store_dict[key]
        data = self._storage.read(f"{ROOT}/{key}")
        if data is None:
            raise Missing(f"{ROOT}/{key}")
        return (prototype or default_buffer_prototype()).buffer.from_bytes(data)

    def set_sync(self, key: str, value: Buffer) -> None:
        """Replace a chunk in one step."""
        self._storage.write(f"{ROOT}/{key}", value.to_bytes())

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As `get_sync`."""
        return self.get_sync(key, prototype=prototype)

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        """As `set_sync`."""
        self.set_sync(key, value)


class Arrays:
    """The arrays of a run, chunk by chunk. Each is cut along one axis at most, so a number says which chunk."""

    def __init__(self, storage: Storage, root: bytes) -> None:
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
