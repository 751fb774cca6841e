"""Files by key: created by exactly one of many, listed by folder."""

import errno
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from jaxinv.errors import DataError
from jaxinv.store import remote
from jaxinv.store import storage as store_module
from jaxinv.store.storage import Storage
from jaxinv.utils import files

RACERS = 16


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "local":
        yield Storage(tmp_path)
        return
    memory = fsspec.filesystem("memory")
    yield Storage("memory://storage/run")
    memory.rm("/storage", recursive=True) if memory.exists("/storage") else None


def race(storage: Storage, key: str) -> list[bool]:
    """What `create` tells many threads that call it in the same instant."""
    start = threading.Barrier(RACERS)

    def create(index: int) -> bool:
        start.wait(60)
        return storage.create(key, f"{index} ".encode() * 1000)

    with ThreadPoolExecutor(RACERS) as pool:
        return list(pool.map(create, range(RACERS)))


def check_races(storage: Storage, rounds: int) -> None:
    for round_ in range(rounds):
        made = race(storage, f"claims/{round_}/lock")
        assert sum(made) == 1
        assert storage.read(f"claims/{round_}/lock") == f"{made.index(True)} ".encode() * 1000


def create_here(folder: Path, start: Any, made: Any) -> None:
    start.wait(60)
    made.put(sum(Storage(folder).create(f"claims/{i}", str(os.getpid()).encode()) for i in range(50)))


def test_create(storage: Storage) -> None:
    assert storage.create("lock", b"mine")
    assert storage.create("a/b/lock", b"")
    assert not storage.create("lock", b"mine")
    assert not storage.create("a/b/lock", b"other")
    assert (storage.read("lock"), storage.read("a/b/lock")) == (b"mine", b"")
    storage.remove("lock")
    assert storage.create("lock", b"again")
    assert storage.names() == ["a", "lock"]  # no file that is not whole stays behind


def test_one_thread_of_many_creates(storage: Storage) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads then change between any two steps
    try:
        check_races(storage, 20)
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.slow
def test_one_process_of_many_creates(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, made = context.Barrier(3), context.SimpleQueue()
    workers = [context.Process(target=create_here, args=(tmp_path, start, made)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert sum(made.get() for _ in workers) == 50
    for worker in workers:
        worker.join(60)
    assert len(os.listdir(tmp_path / "claims")) == 50


def no_links(*_: Any) -> None:
    raise OSError(errno.EPERM, "no")


def lost_answer(link: Callable[..., None]) -> Callable[..., None]:
    def made(part: Path, path: Path) -> None:
        link(part, path)
        raise FileExistsError

    return made


def test_create_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.os, "link", no_links)
    check_races(Storage(tmp_path), 5)


def test_create_where_an_answer_gets_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.os, "link", lost_answer(os.link))
    storage = Storage(tmp_path)
    assert storage.create("lock", b"x")
    assert not storage.create("lock", b"y")


def test_create_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "link", full)
    with pytest.raises(DataError, match=r"^\S+/lock: cannot be written \(No space left on device\)"):
        Storage(tmp_path).create("lock", b"x")
    assert not list(tmp_path.iterdir())


class Refused(Exception):
    """What clients of S3 raise: with the server's answer."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


class Bucket:
    """A file system of an object store that answers requests to create an object as it is told to."""

    protocol = "s3", "s3a"

    def __init__(self, *answers: Exception | None, there: bool = False) -> None:
        self.answers, self.there = list(answers), there

    def pipe_file(self, path: str, data: bytes, mode: str) -> None:
        assert (path, mode) == ("bucket/x/lock", "create")
        if answer := self.answers.pop(0):
            raise answer

    def cat_file(self, path: str) -> bytes:
        if not self.there:
            raise FileNotFoundError(path)
        return b"x"


def translated(error: OSError, code: str) -> OSError:
    error.__cause__ = Refused(code)
    return error


def conflict() -> OSError:
    return translated(OSError(errno.EIO, "The conditional request cannot succeed"), "ConditionalRequestConflict")


def unmet() -> OSError:
    return translated(OSError(errno.EINVAL, "At least one of the conditions did not hold"), "PreconditionFailed")


@pytest.mark.parametrize(
    ("bucket", "made"),
    [
        (Bucket(None), True),
        (Bucket(FileExistsError()), False),
        (Bucket(unmet(), there=True), False),  # servers that do not name the condition, and clients before 2024.12
        (Bucket(conflict(), there=True), False),
        (Bucket(conflict(), conflict(), None), True),
        (Bucket(conflict(), FileExistsError()), False),
        (Bucket(*(conflict() for _ in range(4))), "The conditional request cannot succeed"),
        (Bucket(unmet()), "At least one of the conditions did not hold"),
        (Bucket(PermissionError("Access Denied"), there=True), "Access Denied"),
        (Bucket(ConnectionError("down"), there=True), "down"),
        (Bucket(FileNotFoundError("no bucket"), there=True), "no bucket"),
    ],
)
def test_create_in_a_bucket(bucket: Bucket, made: bool | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "CONFLICT_WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(remote, "open_url", lambda _: (bucket, "bucket/x"))
    storage = Storage("s3://bucket/x")
    if isinstance(made, str):
        with pytest.raises(DataError, match=rf"^s3://bucket/x/lock: cannot be written \({made}\); what was finished"):
            storage.create("lock", b"x")
    else:
        assert storage.create("lock", b"x") == made
    assert bucket.answers == []


def test_names(storage: Storage) -> None:
    assert storage.names() == storage.names("claims") == []
    for key in ("study.json", "claims/2", "claims/10", "claims/old/1"):
        storage.write(key, b"x")
    assert storage.names() == ["claims", "study.json"]
    assert storage.names("claims") == storage.names("claims/") == ["10", "2", "old"]
    assert storage.names("claims/old") == ["1"]
    assert storage.names("claims/new") == []
    assert Storage("/").names() == sorted(os.listdir("/"))
