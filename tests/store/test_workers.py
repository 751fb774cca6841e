"""Workers that share a run: each block is computed once, whoever comes, goes or dies, and nobody waits for ever."""

import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from jaxinv.errors import DataError, InputError
from jaxinv.store import Store, load, lock, workers
from jaxinv.store.storage import Storage
from jaxinv.store.workers import Claims
from tests.store.test_store import ATTRS, fast_folder, fill, open_store, results_of, whole_run


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from fast_folder()


def place_of(kind: str, tmp_path: Path) -> str:
    return str(tmp_path / "run") if kind == "folder" else f"memory://workers/{tmp_path.name}"


KINDS = pytest.mark.parametrize("kind", ["folder", "memory"])


@pytest.mark.slow
@KINDS
def test_each_block_is_computed_once(kind: str, tmp_path: Path) -> None:
    place = place_of(kind, tmp_path)
    stores = [open_store(place, 30, share=(index, 3)) for index in range(3)]
    turns = [store.todo() for store in stores]
    first = [next(turn) for turn in turns]
    assert first == [(0, 4), (12, 4), (24, 4)]
    for store, (begin, trials) in zip(stores, first, strict=True):
        store.write(begin, results_of(store.schema, begin, trials))
    assert fill(stores[1]) == 18  # its part, and what the others have not begun
    for store in (stores[0], stores[2]):
        assert store.complete()
        assert list(store.todo()) == []
    assert stores[1].complete()
    assert stores[1].by_others == 8
    for store in stores:
        store.finish()
        xr.testing.assert_identical(store.read(), whole_run(tmp_path / f"alone {id(store)}", 30))
        store.close()
    xr.testing.assert_identical(load(place), whole_run(tmp_path / "alone", 30))
    if kind == "folder":
        assert sorted(os.listdir(place)) == [".lock", "results.zarr", "study.json"]


def test_a_worker_turns_to_its_own_part_and_then_to_the_ends_of_the_others() -> None:
    assert workers.in_turn([2, 3, 5, 7, 9], 0, 2) == [2, 3, 5, 9, 7]
    assert workers.in_turn([2, 3, 5, 7, 9], 1, 2) == [7, 9, 5, 3, 2]
    assert workers.in_turn([4], 3, 16) == [4]
    assert workers.in_turn([], 0, 1) == []


@KINDS
def test_what_a_worker_has_begun_is_left_to_others_when_it_leaves(kind: str, tmp_path: Path) -> None:
    place = place_of(kind, tmp_path)
    with open_store(place, share=(0, 1)) as helper:
        with open_store(place, share=(0, 1)) as leaving:
            assert next(leaving.todo()) == (0, 4)
            assert not helper.complete()
            assert next(iter(helper.todo())) == (4, 4)
        assert fill(helper) == 6  # the block that it has begun itself is not claimed again


def test_a_claim_that_ages_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "FIRST_PATIENCE", 0.05)
    storage = Storage(tmp_path / "run")
    slow, first, second = (Claims(storage) for _ in range(3))
    assert slow.take(3)
    assert not first.take(3)
    assert not second.take(3)
    time.sleep(0.06)
    assert first.take(3)
    assert not second.take(3)  # the new claim is young again
    time.sleep(0.06)
    assert second.take(3)


def test_the_claim_of_a_process_that_has_died_is_taken_over_at_once(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "run")
    pid = os.posix_spawn("/bin/true", ["true"], {})
    gone = {"holder": "x", "host": lock.socket.gethostname(), "pid": pid, "token": "x", "time": time.time()}
    storage.write(f"{workers.CLAIMS}/0.0", json.dumps(gone).encode())
    time.sleep(0.1)  # a zombie now
    assert Claims(storage).take(0)
    os.waitpid(pid, 0)
    storage.write(f"{workers.CLAIMS}/1.0", json.dumps(gone).encode())
    assert Claims(storage).take(1)


def test_a_claim_whose_answer_got_lost_is_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(tmp_path / "run")
    create = storage.create
    monkeypatch.setattr(storage, "create", lambda key, data: create(key, data) and False)
    assert Claims(storage).take(0)
    assert not Claims(storage).take(0)  # somebody else's


def test_one_of_many_gets_a_block(tmp_path: Path) -> None:
    storage, barrier = Storage(tmp_path / "run"), threading.Barrier(8)

    def take(claims: Claims) -> list[bool]:
        found = []
        for index in range(20):
            barrier.wait(10)
            found.append(claims.take(index))
        return found

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, [Claims(storage) for _ in range(8)]))
    assert [sum(found) for found in zip(*taken, strict=True)] == [1] * 20


def test_a_block_that_somebody_else_has_stored_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "FIRST_PATIENCE", 0.0)
    monkeypatch.setattr(workers, "LEAST_PATIENCE", 0.0)
    with open_store(tmp_path / "run", share=(0, 2)) as slow, open_store(tmp_path / "run", share=(1, 2)) as fast:
        begin, trials = next(slow.todo())
        fill(fast)
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "results.zarr").rglob("c*")}
        slow.write(begin, results_of(slow.schema, begin, trials))
        assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "results.zarr").rglob("c*")}
        assert slow.complete()


@pytest.mark.slow
@KINDS
def test_shared_and_other_runs_keep_out_of_each_others_way(kind: str, tmp_path: Path) -> None:
    place = place_of(kind, tmp_path)
    with open_store(place), pytest.raises(DataError, match="is in use by process"):
        open_store(place, share=(0, 1))
    workers_of_a_run = open_store(place, share=(0, 2)), open_store(place, share=(1, 2))
    with pytest.raises(DataError, match="is in use by workers that share its run, process"):
        open_store(place)
    for store in workers_of_a_run:
        store.close()
    with open_store(place) as store:
        fill(store)


@pytest.mark.slow
@KINDS
def test_who_comes_in_waits_for_the_first_and_no_longer_than_told(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, begins, go = place_of(kind, tmp_path), threading.Event(), threading.Event()
    begin = Store._begin

    def slowly(self: Store, *args: Any) -> None:
        begins.set()
        go.wait(30)
        begin(self, *args)

    monkeypatch.setattr(Store, "_begin", slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(open_store, place, share=(0, 2))
        assert begins.wait(30)
        with pytest.raises(DataError, match="is in use by the first worker of a run"):
            open_store(place, share=(1, 2), timeout=0.2)
        second = pool.submit(open_store, place, share=(1, 2))
        time.sleep(0.3)
        assert not second.done()
        go.set()
        with first.result(30), second.result(30) as store:
            assert fill(store) == 10


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"trials": 12}, "trials: 12 is more than the 10 that other workers compute in .* now; give 10, or wait"),
        ({"trials": 9}, "trials: 9 is fewer than the 10"),
        ({"fingerprint": "other"}, "holds results from other data"),
        ({"attrs": {**ATTRS, "versions": '{"jax": "9"}'}}, "use other versions .jax 8 there, 9 here.; use the same"),
    ],
)
def test_a_worker_of_something_else_is_refused(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    common: dict[str, Any] = {"attrs": {**ATTRS, "versions": '{"jax": "8"}'}}
    with open_store(tmp_path / "run", share=(0, 2), **common) as store:
        with pytest.raises(InputError, match=says):
            open_store(tmp_path / "run", share=(1, 2), **{**common, **options})
        assert fill(store) == 10


def test_without_locks_workers_list_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(file: int, how: int) -> None:
        raise OSError(lock.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", none)
    stores = [open_store(tmp_path / "run", share=(index, 2)) for index in range(2)]
    with pytest.raises(DataError, match="is in use by workers"):
        open_store(tmp_path / "run")
    for store in stores:
        fill(store)
    assert all(store.complete() for store in stores)
    for store in stores:
        store.finish()
        store.close()
    xr.testing.assert_identical(load(tmp_path / "run"), whole_run(tmp_path / "alone"))
