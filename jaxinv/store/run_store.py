"""What zarr-python sees of a run. Apart from `arrays`, so that runs in memory need not wait for it to be imported."""

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import MemoryStore

from jaxinv.store.files import ROOT, Missing
from jaxinv.store.storage import Storage


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
