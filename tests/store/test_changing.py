"""Folders that change while they are used: grown under a reader, renamed or removed under a run, never written to."""

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from jaxinv.errors import DataError, InputError
from jaxinv.store import check_can_hold, load, reading
from jaxinv.store.storage import Storage
from tests.store.test_store import check_values, fast_folder, fill, make_study, open_store, results_of, whole_run


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from fast_folder()


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_WAITS", (0.0,) * len(reading.READ_WAITS))


def before_each_read(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None]) -> None:
    """Call a function with the number of each read of this thread, just before it."""
    count, read, reader = [0], Storage.read, threading.current_thread()

    def noted(storage: Storage, key: str) -> bytes | None:
        if threading.current_thread() is reader:
            act(count[0])
            count[0] += 1
        return read(storage, key)

    monkeypatch.setattr(Storage, "read", noted)


class Steps:
    """Grows a run in a thread of its own, from one write to the next when it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, trials: int) -> None:
        self._go, self._ready, self._ended = threading.Semaphore(0), threading.Semaphore(0), threading.Event()
        write = Storage.write

        def stepped(storage: Storage, *args: Any, **options: Any) -> None:
            if threading.current_thread() is self._thread:
                self._ready.release()
                self._go.acquire()
            write(storage, *args, **options)

        def grow() -> None:
            try:
                whole_run(folder, trials)
            finally:
                self._ended.set()
                self._ready.release()

        monkeypatch.setattr(Storage, "write", stepped)
        self._thread = threading.Thread(target=grow, daemon=True)
        self._thread.start()
        self._ready.acquire()

    def step(self, writes: int) -> None:
        """Let it write some times, or to its end."""
        for _ in range(writes):
            if not self._ended.is_set():  # a thread is alive for a moment after its last write
                self._go.release()
                self._ready.acquire()

    def finish(self) -> None:
        """Let it come to its end."""
        while self._thread.is_alive():
            self._go.release()
            self._thread.join(0.001)


@pytest.mark.parametrize("writes", [1, 100])
@pytest.mark.parametrize("begin", range(0, 48, 3))
def test_a_run_that_grows_while_it_is_read_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: int, writes: int
) -> None:
    """Some writes of the writer before each read of the reader, from some read on; then the run is whole."""
    whole_run(tmp_path, 6)
    with monkeypatch.context() as patched:
        writer = Steps(patched, tmp_path, 10)
        before_each_read(patched, lambda number: writer.step(writes if number >= begin else 0))
        results = load(tmp_path)
        writer.finish()
    assert results.sizes["trial"] in (6, 10)
    assert results.done.values[:6].all()
    check_values(results)
    check_values(load(tmp_path))


@pytest.mark.slow
def test_a_run_that_never_stops_growing_is_said_to_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_run(tmp_path, 3)
    trials = 3

    def grow(number: int) -> None:
        nonlocal trials
        if number % 3 == 2:
            trials += 5
            thread = threading.Thread(target=whole_run, args=(tmp_path, trials))
            thread.start()
            thread.join()

    with monkeypatch.context() as patched:
        before_each_read(patched, grow)
        with pytest.raises(DataError) as found:
            load(tmp_path)
        assert str(found.value) == f"{tmp_path}: grew while it was read, 5 times; read it again later"
    check_values(load(tmp_path))


def test_damage_is_still_damage(tmp_path: Path) -> None:
    whole_run(tmp_path)
    path = tmp_path / "results.zarr/accuracy/c.0.0.1.0"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="is truncated or altered; the command that made it"):
        load(tmp_path)


def renamed(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def made_anew(folder: Path) -> None:
    renamed(folder)
    folder.mkdir()


def emptied(folder: Path) -> None:
    (folder / "results.zarr").rename(folder.with_name("elsewhere"))


@pytest.mark.parametrize("share", [None, (0, 2)])
@pytest.mark.parametrize("how", [renamed, made_anew, shutil.rmtree, emptied])
def test_a_folder_that_vanishes_stops_the_run_at_once(
    tmp_path: Path, how: Callable[[Path], None], share: tuple[int, int] | None
) -> None:
    folder = tmp_path / "run"
    store = open_store(folder, share=share)
    with store:
        spans = store.todo()
        first, count = next(spans)
        store.write(first, results_of(store.schema, first, count))
        second, count = next(spans)
        how(folder)
        with pytest.raises(DataError, match=r"is not there any more; if the folder was renamed or moved, put it back"):
            store.write(second, results_of(store.schema, second, count))
        with pytest.raises(DataError, match="is not there any more"):
            store.finish()
    assert not (folder / "results.zarr").exists()  # nothing was begun in its place
    if how in (renamed, made_anew):
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_name("elsewhere").rename(folder)
        assert load(folder).done.values.sum() == 4
    with open_store(folder) as again:
        assert fill(again) == (6 if how in (renamed, made_anew) else 10)
        again.finish()
    check_values(load(folder))


def test_a_folder_that_vanishes_is_not_made_by_a_claim(tmp_path: Path) -> None:
    with open_store(tmp_path / "run", share=(0, 2)) as store:
        renamed(tmp_path / "run")
        with pytest.raises(DataError, match="is not there any more"):
            next(store.todo())
    assert not (tmp_path / "run").exists()


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file system that cannot be written to, whoever asks."""
    access, opened = os.access, os.open

    def no_access(path: Any, mode: int, **options: Any) -> bool:
        return not mode & os.W_OK and access(path, mode, **options)

    def no_open(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return opened(path, flags, *args, **options)

    def refuse(*args: Any, **options: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patched:
        patched.setattr(os, "access", no_access)
        patched.setattr(os, "open", no_open)
        for name in ("replace_file", "create_file"):
            patched.setattr(f"jaxinv.store.storage.{name}", refuse)
        yield


@pytest.mark.parametrize("share", [None, (1, 2)])
def test_a_finished_run_that_cannot_be_written_to_is_read(
    tmp_path: Path, request: pytest.FixtureRequest, share: tuple[int, int] | None
) -> None:
    stored = whole_run(tmp_path / "run")
    (tmp_path / "run" / ".lock").unlink()
    request.getfixturevalue("read_only")
    check_can_hold(tmp_path / "run", make_study())
    with open_store(tmp_path / "run", share=share, attrs={"versions": "other"}) as store:
        assert store.done.all()
        assert list(store.todo()) == []
        assert store.complete()
        store.finish()
        xr.testing.assert_identical(store.read(), stored)
    assert not (tmp_path / "run" / ".lock").exists()


def test_more_than_a_folder_has_that_cannot_be_written_to_is_refused(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    whole_run(tmp_path / "whole")
    with open_store(tmp_path / "half") as store:
        fill(store, 1)
    request.getfixturevalue("read_only")
    with pytest.raises(InputError, match="cannot be written to, and 12 trials are more than the 10 that it has; give"):
        open_store(tmp_path / "whole", 12)
    with pytest.raises(InputError, match="cannot be written to; give another folder"):
        open_store(tmp_path / "half")
    with pytest.raises(InputError, match="holds another study"):
        check_can_hold(tmp_path / "whole", make_study(seed=3))
