"""How the processes of one distributed run agree on what is missing: process 0 looks and tells the others."""

import json
import time
from typing import NamedTuple

from jaxinv.errors import DataError
from jaxinv.store.lock import INVENTORY
from jaxinv.store.storage import Storage

POLL_SECONDS = 0.05


class Inventory(NamedTuple):
    """What process 0 found: its launch, the store-block length, the finished trials of each block, the attributes."""

    token: str
    block: int
    filled: list[int]
    attrs: dict[str, str]


def publish(storage: Storage, inventory: Inventory) -> None:
    """Let the other processes of this launch begin."""
    storage.write(INVENTORY, json.dumps(inventory).encode())


def find(storage: Storage, token: str) -> Inventory | None:
    """The inventory of this launch, if it is there; those of others are none."""
    data = storage.read(INVENTORY)
    inventory = Inventory(*json.loads(data)) if data else None
    return inventory if inventory is not None and inventory.token == token else None


def wait(storage: Storage, token: str, timeout: float) -> Inventory:
    """The inventory of this launch, once process 0 has written it."""
    end = time.monotonic() + timeout
    while (inventory := find(storage, token)) is None:
        if time.monotonic() > end:
            raise DataError(
                f"out: process 0 did not open {str(storage)!r} within {timeout:g} s; run the same command again"
            )
        time.sleep(POLL_SECONDS)
    return inventory
