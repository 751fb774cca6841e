"""The object that stands for a lock: one of several gets it, whatever the order of their requests."""

import itertools
import json
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import fsspec
import pytest

from jaxinv.errors import DataError
from jaxinv.store import lock
from jaxinv.store.lock import LOCK, Lease
from jaxinv.store.storage import Storage

URL = "memory://lease/run"
PATIENCE = 60  # seconds until a test that hangs fails


@pytest.fixture(autouse=True)
def system() -> Iterator[Any]:
    memory = fsspec.filesystem("memory")
    yield memory
    memory.rm("/lease", recursive=True) if memory.exists("/lease") else None


def signed(age: float, **changes: object) -> bytes:
    """A lease of another machine, renewed some seconds ago."""
    held = {"holder": "process 1 on elsewhere", "host": "elsewhere", "pid": 1, "token": "t", "time": time.time() - age}
    return json.dumps({**held, **changes}).encode()


OLD = signed(lock.LEASE_SECONDS + 1)
DEAD = signed(0, host=socket.gethostname(), pid=2**22 + 1)  # above the largest number of a process
BEFORE = {"nothing": None, "old": OLD, "dead": DEAD, "torn": b"{", "empty": b""}


class Turns:
    """Lets one of several threads go on at a time, up to its next turn, in an order drawn from a seed."""

    def __init__(self, seed: int, names: range) -> None:
        self._draw, self._changed = random.Random(seed), threading.Condition()
        self._waiting: set[int] = set()
        self._running, self._next = set(names), -1
        self._of = threading.local()

    def begin(self, name: int) -> None:
        self._of.name = name
        self.wait()

    def wait(self) -> None:
        name = self._of.name
        with self._changed:
            self._waiting.add(name)
            self._choose()
            assert self._changed.wait_for(lambda: self._next == name, PATIENCE)
            self._waiting.remove(name)
            self._next = -1

    def end(self) -> None:
        with self._changed:
            self._running.remove(self._of.name)
            self._choose()

    def _choose(self) -> None:
        if self._waiting == self._running and self._waiting:
            self._next = self._draw.choice(sorted(self._waiting))
            self._changed.notify_all()


class Objects:
    """An object store with exclusive creation, as `Storage` shows it; every request waits for its turn."""

    def __init__(self, before: bytes | None, turns: Turns | None = None) -> None:
        self.files = {} if before is None else {LOCK: before}
        self._turn: Callable[[], None] = turns.wait if turns else lambda: None

    def __str__(self) -> str:
        return "objects"

    def read(self, key: str) -> bytes | None:
        self._turn()
        return self.files.get(key)

    def write(self, key: str, data: bytes) -> None:
        self._turn()
        self.files[key] = data

    def create(self, key: str, data: bytes) -> bool:
        self._turn()
        return self.files.setdefault(key, data) is data

    def remove(self, key: str) -> None:
        self._turn()
        self.files.pop(key, None)


def take(storage: Any) -> Lease | None:
    try:
        return Lease(cast(Storage, storage))
    except DataError as error:
        if " is in use by " not in str(error):
            raise
        return None


@pytest.mark.parametrize("releases", [False, True])
@pytest.mark.parametrize("before", BEFORE)
def test_one_holds_it_in_any_order_of_requests(before: str, releases: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(60):
        turns = Turns(seed, range(3))
        objects = Objects(BEFORE[before], turns)
        monkeypatch.setattr(lock.time, "sleep", lambda _, turns=turns: turns.wait())
        holding: list[int] = []

        def work(name: int, turns: Turns = turns, objects: Objects = objects, holding: list[int] = holding) -> bool:
            turns.begin(name)
            try:
                lease = take(objects)
                if lease is None:
                    return False
                holding.append(name)
                assert holding == [name]
                turns.wait()
                assert holding == [name]
                if releases:
                    holding.remove(name)
                    lease.release()
                return True
            finally:
                turns.end()

        with ThreadPoolExecutor(3) as pool:
            got = sum(pool.map(work, range(3)))
        assert got >= 1 if releases else got == 1, seed
        assert list(objects.files) == ([] if releases else [LOCK]), seed


@pytest.mark.parametrize("before", BEFORE)
def test_one_of_many_threads_gets_it(before: str, system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LEASE_WAITS", (0.0, 0.01, 0.02))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        if BEFORE[before] is not None:
            system.pipe_file("/lease/run/.lock", BEFORE[before])
        with ThreadPoolExecutor(8) as pool:
            leases = [lease for lease in pool.map(take, [Storage(URL)] * 8) if lease]
    finally:
        sys.setswitchinterval(interval)
    assert len(leases) == 1
    assert Storage(URL).names() == [LOCK]
    leases[0].release()
    assert Storage(URL).names() == []


class Interrupted(Objects):
    """Objects of which something happens just before the n-th request of the next lease."""

    def __init__(self, before: bytes | None, at: int, happens: Callable[[Objects], None]) -> None:
        super().__init__(before)
        requests = itertools.count()

        def turn() -> None:
            if next(requests) == at:
                self._turn = lambda: None
                happens(self)

        self._turn = turn


@pytest.mark.parametrize("at", range(6))
def test_who_comes_late_leaves_the_first_its_lease(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock.time, "sleep", lambda _: None)
    first: list[Lease | None] = []
    objects = Interrupted(OLD, at, lambda objects: first.append(take(objects)))
    late = take(objects)
    assert (first[0] is None) != (late is None)
    holds = first[0] or late
    assert holds
    holds.release()
    assert LOCK not in objects.files


@pytest.mark.parametrize("at", range(2, 4))
def test_one_that_is_renewed_meanwhile_stays(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock.time, "sleep", lambda _: None)
    renewed = signed(0)
    objects = Interrupted(OLD, at, lambda objects: objects.files.update({LOCK: renewed}))
    assert take(objects) is None
    assert objects.files == {LOCK: renewed}


def gate_of(before: bytes) -> str:
    """The name of what a process makes before it replaces a lease."""
    seen: set[str] = set()
    objects = Interrupted(before, 4, lambda objects: seen.update(objects.files))
    assert take(objects)
    (gate,) = seen - {LOCK}
    return gate


def test_who_dies_while_taking_over_blocks_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock.time, "sleep", lambda _: None)
    objects = Objects(OLD)
    objects.files[gate_of(OLD)] = signed(5)
    with pytest.raises(DataError, match=r"by a process that is taking it over \(if that was killed: in 600 s"):
        Lease(cast(Storage, objects))
    for gone in (OLD, DEAD, b"{"):
        objects = Objects(OLD)
        objects.files[gate_of(OLD)] = gone
        assert take(objects)
        assert list(objects.files) == [LOCK]


class Unanswered(Objects):
    def create(self, key: str, data: bytes) -> bool:
        super().create(key, data)
        return False


@pytest.mark.parametrize("before", [None, OLD], ids=["free", "held by a dead one"])
def test_an_answer_that_gets_lost(before: bytes | None) -> None:
    objects = Unanswered(before)
    lease = take(objects)
    assert lease
    lease.release()
    assert not objects.files


def test_renewed_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stood still for longer than its lease keeps it, unless another has taken it."""
    clock = [time.time()]
    monkeypatch.setattr(lock.time, "time", lambda: clock[0])
    objects = Objects(None)
    lease = take(objects)
    assert lease
    clock[0] += lock.LEASE_SECONDS
    lease.renew()
    assert json.loads(objects.files[LOCK])["time"] == clock[0]
    objects.files.clear()  # somebody took it for dead
    clock[0] += lock.RENEW_SECONDS
    lease.renew()
    assert json.loads(objects.files[LOCK])["time"] == clock[0]
    monkeypatch.setattr(lock.os, "getpid", lambda: 2**22 + 1)
    clock[0] += lock.LEASE_SECONDS
    other = take(objects)
    assert other
    with pytest.raises(DataError, match=f"is in use by process {2**22 + 1} on "):
        lease.renew()
    lease.release()
    assert json.loads(objects.files[LOCK])["pid"] == os.getpid()
    clock[0] += lock.LEASE_SECONDS
    other.release()
    assert not objects.files


def test_renewed_while_another_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [time.time()]
    monkeypatch.setattr(lock.time, "time", lambda: clock[0])

    def go_on(objects: Objects) -> None:
        assert owner
        with pytest.raises(DataError, match="is in use by "):
            owner.renew()

    objects = Interrupted(None, 5, go_on)  # just before the other writes its own
    owner = take(objects)
    assert owner
    clock[0] += lock.LEASE_SECONDS
    other = take(objects)
    assert other
    other.renew()
    other.release()
    assert not objects.files


def test_a_store_that_fails_hides_no_error_of_the_run() -> None:
    def fail(*_: object) -> None:
        raise DataError("down")

    objects = Interrupted(None, 1, fail)
    lease = take(objects)
    assert lease
    lease.release()
    assert LOCK in objects.files
