"""Runs that end badly: killed at any moment, at every single write, on a full disk. Nothing finished is lost or redone.

Processes to be killed are forked by a Python of their own (`python -m tests.store.test_crash …`), which has no JAX and
no threads.
"""

import contextlib
import errno
import io
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
import pytest
import xarray as xr

from jaxinv.errors import DataError, InputError
from jaxinv.results.schema import ResultBlock
from jaxinv.store import Store, load, storage
from jaxinv.study import Study
from tests.store.test_store import LAYOUT, check_values, fast_folder, fill, open_store, results_of, whole_run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from fast_folder()


class Killed(BaseException):
    """Stands for a death of the process: nothing of the code under test handles it."""


def in_a_process(scenario: str, *arguments: object, prefix: tuple[str, ...] = ()) -> list[str]:
    warnings = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")
    command = [*prefix, sys.executable, *warnings, "-m", __name__, scenario, *map(str, arguments)]
    # Threads and forks do not go together: none of NumPy's, nor of the allocator that pyarrow brings where it is there.
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
    assert process.returncode == 0, errors
    return output.split()


@pytest.mark.slow
def test_killed_at_every_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deterministic: die before the n-th file is put in place, for every n of a run that begins, goes on and grows."""
    write = storage.Storage.write
    left = 0

    def count_down(self: storage.Storage, key: str, data: bytes, *, durable: bool = False) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        write(self, key, data, durable=durable)

    monkeypatch.setattr(storage.Storage, "write", count_down)

    def attempt(folder: Path, trials: int) -> int:
        with open_store(folder, trials) as store:
            assert store.notes == []
            computed = fill(store)
            store.finish()
        return computed

    left = 1000
    at_once = whole_run(tmp_path / "at once", 7)
    last, n, grown = False, 0, 0
    while not last:
        folder, done = tmp_path / str(n), 0
        left, last = n, True
        for trials in (5, 7):
            try:
                attempt(folder, trials)
            except Killed:
                last = False
                left = 1000
                if (folder / "results.zarr" / "zarr.json").exists():
                    try:
                        seen = load(folder)
                    except DataError as error:  # between the two files that a growing run changes
                        grown += "study.json is of 5 trials, and the results beside it of 7" in str(error)
                        seen = None
                    if seen is not None:
                        check_values(seen)
                        assert seen.done.values.sum() >= done
                        done = int(seen.done.values.sum())
                assert attempt(folder, trials) == trials - done
            done = trials
        xr.testing.assert_identical(load(folder), at_once)
        n += 1
    assert n > 40
    assert grown == 1


@pytest.mark.slow
def test_killed_at_random(tmp_path: Path) -> None:
    """SIGKILL, 20 times, to a process that writes as fast as it can, while the run also grows."""
    kills, computed, trials = map(int, in_a_process("kill", tmp_path / "killed", 20))
    assert kills == 20
    assert (
        trials <= computed <= trials + 16 * kills
    )  # only what was computed and not stored yet, a block a kill at most
    at_once = whole_run(tmp_path / "at once", trials, block=16)
    xr.testing.assert_identical(load(tmp_path / "killed"), at_once)
    for path in (tmp_path / "at once").rglob("*"):  # not a byte differs
        if path.is_file() and path.name != ".lock":
            assert (tmp_path / "killed" / path.relative_to(tmp_path / "at once")).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_lock(tmp_path: Path) -> None:
    refused, pid, after_kill = in_a_process("lock", tmp_path)
    assert (refused, after_kill) == (pid, "taken")


@pytest.mark.slow
def test_full_disk(tmp_path: Path) -> None:
    """A real one: a small file system in memory, which takes a mount namespace of our own."""
    prefix = ("unshare", "--user", "--map-root-user", "--mount")
    try:
        subprocess.run([*prefix, "mount", "-t", "tmpfs", "tmpfs", tmp_path], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system does not let us mount a file system of our own")
    script = 'mount -t tmpfs -o size=220k tmpfs "$0" && exec "$@"'
    finished, kept = in_a_process("full", tmp_path, prefix=(*prefix, "sh", "-c", script, str(tmp_path)))
    assert int(finished) == int(kept) > 0


@pytest.mark.slow
def test_disk_fills_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for a quota: no more than so many bytes in all, in steps of 700."""
    opened, room = Path.open, 0

    class Limited(io.FileIO):
        def write(self, data: Any) -> int:
            nonlocal room
            if len(data) > room:
                super().write(data[:room])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            room -= len(data)
            return super().write(data)

    monkeypatch.setattr(Path, "open", lambda path, mode="r": Limited(path, mode) if "x" in mode else opened(path, mode))
    refusals: set[str] = set()
    at_once = None
    while at_once is None:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        room, stored = 700 * int(folder.name), 0
        try:
            with open_store(folder) as store:
                for first, trials in store.todo():
                    store.write(first, results_of(LAYOUT, first, trials))
                    stored = first + trials
                store.finish()
                at_once = store.read()
            continue
        except DataError as error:
            refusals.add(str(error).partition(": ")[2])
            assert not list(folder.rglob(".part-*"))
        room = 10**9
        with open_store(folder) as store:
            assert store.notes == []
            assert store.done.sum() in (stored, stored + 4)  # the mark, which counts, may have been the last to fit
            fill(store)
            store.finish()
        check_values(load(folder))
        assert not list(folder.rglob(".part-*"))
    reason = "cannot be written (No space left on device); what was finished is kept; put that right and run the same"
    assert refusals == {f"{reason} command again"}
    assert len(list(tmp_path.iterdir())) > 15


def test_finished_run_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = whole_run(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(storage, "replace_file", full)
    with open_store(tmp_path) as store:
        store.finish()
        xr.testing.assert_identical(store.read(), whole)


def test_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".part-1f").write_bytes(b"half")
    whole_run(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".lock", "results.zarr", "study.json"]


def test_second_run_in_one_process(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        fill(store, 1)
        with pytest.raises(DataError, match=f"is in use by process {os.getpid()} on .*; wait until that has ended"):
            open_store(tmp_path)
        fill(store)
        store.finish()
    whole_run(tmp_path, 12)


def test_refusal_releases_the_lock(tmp_path: Path) -> None:
    whole_run(tmp_path)
    for _ in range(2):
        with pytest.raises(InputError, match="results from other data"):
            open_store(tmp_path, fingerprint="other")
    (tmp_path / "results.zarr" / "zarr.json").write_text("{}")
    with pytest.raises(InputError, match="results from other data"):
        open_store(tmp_path, fingerprint="other")
    whole_run(tmp_path)


@pytest.mark.slow
def test_any_schedule_of_workers_ends_as_a_single_run(tmp_path: Path) -> None:
    assert in_a_process("schedules", tmp_path, 60) == ["ok"]


# What runs in a Python of its own.

forked: list[int] = []


def fork(work: Callable[[], None]) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        forked.append(pid)
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def log(path: Path, trials: int) -> None:
    """Add to a count in one step, so that a kill cannot tear it."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(file, b"x" * trials)
    os.close(file)


def compute(store: Store, counted: Path, pause: float = 0.0, made: ResultBlock | None = None) -> None:
    for first, trials in store.todo():
        block = made.part(first, first + trials) if made else results_of(store.schema, first, trials)
        log(counted, trials)
        store.write(first, block)
        time.sleep(pause)


def look(folder: Path) -> xr.Dataset | None:
    """`load`; None if the process died between the two files that a growing run changes."""
    try:
        return load(folder)
    except DataError as error:
        if "study.json is of" not in str(error):
            raise
        return None


def kill_scenario(folder: Path, kills: int) -> None:
    rng = random.Random(0)
    counted, done, killed, trials = folder.with_name("counted"), 0, 0, 100
    made = results_of(LAYOUT, 0, 2000)  # drawing them takes longer than storing them

    def work() -> None:
        with open_store(folder, trials, block=16) as store:
            assert not store.notes, store.notes
            compute(store, counted, made=made)
            store.finish()

    def check(seen: xr.Dataset) -> None:
        finished = seen.done.values
        for name in ("accuracy", "test_loss", "diverged", "layer_delta"):
            expected = made.values[name][:, :, : len(finished)]
            assert np.array_equal(seen[name].values[:, :, finished], expected[:, :, finished]), name

    def as_others_see_it() -> None:  # in a process of its own, since zarr starts threads
        with xr.open_zarr(folder / "results.zarr") as seen:
            check(seen)

    status = 1
    while killed < kills or status:
        pid = fork(work)
        if killed < kills:
            time.sleep(rng.uniform(0.002, 0.1))
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        assert status in (0, signal.SIGKILL)
        killed += bool(status)
        if (folder / "results.zarr" / "zarr.json").exists():
            seen = look(folder)
            if seen is not None:
                check(seen)
                assert seen.done.values.sum() >= done, "finished trials were lost"
                done = seen.done.values.sum()
            if killed % 5 == 0:
                assert os.waitpid(fork(as_others_see_it), 0)[1] == 0
        if killed < kills:
            trials = min(2000, trials + rng.randrange(20, 80))
    print(killed, counted.stat().st_size, trials)


def lock_scenario(folder: Path) -> None:
    ready, go = os.pipe()

    def hold() -> None:
        store = open_store(folder)
        fill(store, 1)
        os.write(go, b"x")
        time.sleep(60)
        store.close()

    pid = fork(hold)
    os.read(ready, 1)
    try:
        open_store(folder)
    except DataError as error:
        print(str(error).partition("process ")[2].split()[0], pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with open_store(folder) as store:
        print("taken" if store.done.sum() == 4 else "lost")


def schedules_scenario(folder: Path, schedules: int) -> None:
    """Workers that come, die and leave as chance has it; in the end the folder is that of a single run, to the byte."""
    for schedule in range(schedules):
        rng = random.Random(schedule)
        trials, block, workers = rng.randint(1, 40), rng.randint(1, 6), rng.randint(1, 4)
        counted, place = folder / f"counted {schedule}", folder / f"shared {schedule}"
        whole_run(alone := folder / f"alone {schedule}", trials, block=block)
        if rng.random() < 0.3:  # part of it is there
            with open_store(place, rng.randint(1, trials), block=block) as store:
                fill(store, rng.randint(0, 3))

        running, killed, starts = [], 0, workers + rng.randint(0, 3)
        for start in range(starts):
            pause = rng.choice([0.0, 0.0, 0.003, 0.01])
            options = {"trials": trials, "block": block, "share": (start % workers, workers)}
            running.append(fork(partial(labour, place, counted, pause, options)))
            time.sleep(rng.choice([0.0, 0.001, 0.02]))
            if start < starts - 1 and rng.random() < 0.5:  # the last one lives, and ends the run
                pid = running.pop(rng.randrange(len(running)))
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                killed += 1
        status = [os.waitpid(pid, 0)[1] for pid in running]
        assert not any(status), (schedule, status)
        forked.clear()
        assert files_of(place) == files_of(alone), schedule
        computed = counted.stat().st_size if counted.exists() else 0
        assert computed <= trials + block * (killed + starts), (schedule, computed, trials)  # claims keep others off
    print("ok")


def labour(folder: Path, counted: Path, pause: float, options: dict[str, Any]) -> None:
    """What the runner does with a store."""
    with open_store(folder, **options) as store:
        while not store.complete():
            compute(store, counted, pause)
        store.finish()


def files_of(folder: Path) -> dict[str, bytes]:
    """Everything in a run's folder but its lock."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def full_scenario(folder: Path) -> None:
    trials = 0
    study_trials = 4000
    error = ""
    with open_store(folder, study_trials, block=16) as store:
        for first, count in store.todo():
            try:
                store.write(first, results_of(LAYOUT, first, count))
            except DataError as full:
                error = str(full)
                break
            trials += count
    assert "No space left on device" in error, error
    check_values(load(folder))
    kept = load(folder)
    print(trials, int(kept.done.values.sum()))
    assert Study.from_json(kept.attrs["study"]).trials == study_trials


if __name__ == "__main__":
    scenario, place, *rest = sys.argv[1:]
    scenarios: dict[str, Callable[..., None]] = {
        "kill": kill_scenario,
        "lock": lock_scenario,
        "schedules": schedules_scenario,
        "full": full_scenario,
    }
    try:
        scenarios[scenario](Path(place), *map(int, rest))
    finally:
        for pid in forked:  # one that is still there would keep the output open
            with contextlib.suppress(ChildProcessError):  # waited for already
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    os.kill(pid, signal.SIGKILL)
