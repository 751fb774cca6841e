"""Workers that share a run: who is there, and who computes which block.

Trials never talk to each other, so no worker waits for another's. A worker that finds nobody looks through the folder
and lays it out, while others that come in this moment wait for it; then all are let in. Each claims the block that it
computes, by a file in `.claims`; others keep off a claimed block until they have seen the claim for some times as long
as a block takes them, or its process has died on this machine. So whoever dies or falls behind is replaced. Two workers
may then compute one block: the same trials, the same bits.

Where the file system has locks, the kernel knows who is there. Elsewhere each worker has a file in `.workers`, which it
renews as it writes.
"""

import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from jaxinv.errors import DataError
from jaxinv.store.lock import RENEW_SECONDS, FileLock, Lease, Lock, alive, dead, in_use, parse, signature
from jaxinv.store.storage import Storage
from jaxinv.utils.locks import myself

CLAIMS = ".claims"
WORKERS = ".workers"
BEGINS = "the first worker of a run, "  # how the holder of a lock is called while others may wait for it
POLL_SECONDS = 0.1
GRACE_SECONDS = 2.0  # in which the name of a lock's new holder is there
FIRST_PATIENCE = 30.0  # seconds, before a worker knows how long a block takes
PATIENCE = 3.0  # times the longest block that this worker has computed
LEAST_PATIENCE = 5.0  # seconds


class Membership(Lock):
    """A worker's place among those that share a folder.

    Attributes:
      alone: nobody else is there, and nobody comes in before `admit`.
    """

    def __init__(self, lock: Lock, alone: bool) -> None:
        self._lock, self.alone, self.note = lock, alone, lock.note

    def admit(self) -> None:
        """Let other workers in."""

    def renew(self) -> None:
        self._lock.renew()

    def release(self) -> None:
        self._lock.release()


class KernelMembership(Membership):
    """By a lock of the kernel's: held alone at first, together with other workers afterwards."""

    _lock: FileLock

    def admit(self) -> None:
        end = time.monotonic() + GRACE_SECONDS
        while not self._lock.take(shared=True):  # another worker that comes may have it for an instant
            if time.monotonic() > end:
                raise DataError(f"{self._lock.path}: cannot be shared; run the same command again")
            time.sleep(POLL_SECONDS)
        self._lock.sign(among_workers(myself()))


class ListedMembership(Membership):
    """By a file of one's own. Whoever comes in holds the lease of the folder while it does."""

    def __init__(self, storage: Storage, lease: Lock) -> None:
        self._storage, self._name, self._renewed = storage, f"{WORKERS}/{uuid.uuid4().hex}", 0.0
        super().__init__(lease, not listed(storage))
        self.renew()

    def admit(self) -> None:
        self._lock.release()

    def renew(self) -> None:
        if time.time() - self._renewed >= RENEW_SECONDS:
            self._renewed = time.time()
            self._storage.write(self._name, _signature())

    def release(self) -> None:
        self._storage.remove(self._name)


def listed(storage: Storage) -> list[str]:
    """The workers that have a file in a folder and are alive."""
    found = (parse(storage.read(f"{WORKERS}/{name}")) for name in storage.names(WORKERS))
    return [worker["holder"] for worker in found if worker and alive(worker)]


def join(storage: Storage, timeout: float) -> Membership:
    """Come in as one of the workers that share a folder.

    A worker that is not the first comes in once the first one has looked through the folder.

    Raises:
      DataError: a run that is not shared is using the folder, or the first worker is not ready in time.
    """
    if storage.local is None:
        return _join_listed(storage, timeout)
    lock = FileLock(storage.local)
    with ExitStack() as stack:
        stack.callback(lock.release)
        start = time.monotonic()
        while True:
            alone = lock.take(shared=False)
            if lock.note:
                return _join_listed(storage, timeout)
            if alone or lock.take(shared=True):
                break
            holder = lock.holder()
            if time.monotonic() - start > (timeout if holder.startswith(BEGINS) else GRACE_SECONDS):
                raise in_use(storage, holder)
            time.sleep(POLL_SECONDS)
        lock.sign(f"{BEGINS}{myself()}" if alone else among_workers(myself()))
        stack.pop_all()
    return KernelMembership(lock, alone)


def _join_listed(storage: Storage, timeout: float) -> Membership:
    end = time.monotonic() + timeout
    while True:
        try:
            lease = Lease(storage, f"{BEGINS}{myself()}")
            break
        except DataError as error:
            if BEGINS not in str(error) or time.monotonic() > end:
                raise
            time.sleep(10 * POLL_SECONDS)
    with ExitStack() as stack:
        stack.callback(lease.release)
        membership = ListedMembership(storage, lease)
        if membership.alone:
            stack.pop_all()
    return membership


class Claims:
    """Which worker computes which block. Nothing depends on a claim but that work is not done twice."""

    def __init__(self, storage: Storage) -> None:
        self._storage, self._signature = storage, _signature()
        self._tries: dict[int, tuple[int, float]] = {}  # of each block: claims before this one, when this one was seen
        self._own: dict[int, tuple[str, float]] = {}
        self._longest = 0.0

    def take(self, index: int) -> bool:
        """Claim a block, unless somebody else is computing it."""
        tries, seen = self._tries.get(index, (0, 0.0))
        while not self._storage.create(key := f"{CLAIMS}/{index}.{tries}", self._signature):
            now = time.monotonic()
            seen = seen or now
            self._tries[index] = tries, seen
            data = self._storage.read(key)
            if data == self._signature and index not in self._own:  # made, but the answer got lost
                break
            found = parse(data)
            if not (found and dead(found)) and now - seen < self._patience:
                return False
            tries, seen = tries + 1, 0.0
        self._own[index] = key, time.monotonic()
        return True

    @property
    def _patience(self) -> float:
        return max(LEAST_PATIENCE, PATIENCE * self._longest) if self._longest else FIRST_PATIENCE

    def finished(self, index: int) -> None:
        """A block of one's own is stored. Its claim stays, and says so before its mark is seen everywhere."""
        _, since = self._own.pop(index)
        self._longest = max(self._longest, time.monotonic() - since)

    def give_up(self, index: int) -> None:
        """Leave a block to others."""
        key, _ = self._own.pop(index)
        self._storage.remove(key)

    def release(self) -> None:
        """Leave all blocks to others that are claimed and not finished."""
        for index in list(self._own):
            self.give_up(index)


def in_turn(left: Sequence[int], worker: int, workers: int) -> list[int]:
    """The missing blocks in the order in which a worker turns to them.

    First its own part, from the front; then those of the others, from the back, where their workers come last.

    >>> in_turn([0, 1, 2, 3, 4, 5], 1, 3)
    [2, 3, 5, 4, 1, 0]
    """
    parts = [part.tolist() for part in np.array_split(np.asarray(left, int), workers)]
    others = [parts[(worker + k) % workers][::-1] for k in range(1, workers)]
    return [index for part in (parts[worker], *others) for index in part]


def forget_claims(storage: Storage) -> None:
    """Remove all claims: where there is nobody, or nothing left to do."""
    storage.remove(CLAIMS)


def _signature() -> bytes:
    return signature(myself(), uuid.uuid4().hex, time.time())


def among_workers(holder: str) -> str:
    """How messages call those who hold a folder together, one of whom is known."""
    return f"workers that share its run, {holder} among them"
