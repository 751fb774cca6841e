"""Decoded copies that processes share: what is in them, when they are made, and what is done when they cannot be."""

import errno
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jaxinv.data import Dataset, bundled, decoded, load_dataset, read_npz, user_cache
from jaxinv.data.dataset import ARRAYS, is_shared
from jaxinv.data.decoded import Entry, decoded_once
from jaxinv.engine import trial_runner
from jaxinv.engine.devices import local_hardware
from jaxinv.engine.resolve import resolve
from jaxinv.engine.trial_runner import TrialRunner
from jaxinv.errors import DataError, InputError
from jaxinv.study import Study
from jaxinv.utils.cache import own_cache_folder
from tests.datasets import tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, in which files of any size and age are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(user_cache, "LEAST_BYTES", 0)
    monkeypatch.setattr(user_cache, "SETTLED_SECONDS", 0)
    return tmp_path / "cache" / "jaxinv" / "datasets"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save(tmp_path / "data.npz")


def save(path: Path, dataset: Dataset | None = None, **more: Any) -> Path:
    dataset = dataset or tiny()
    np.savez(path, **{name: getattr(dataset, name) for name in ARRAYS}, **more)
    return path


def count_decoding(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    from jaxinv.data import npz

    read, calls = npz.read_arrays, []

    def counted(path: Path, keys: Any = ARRAYS, **options: Any) -> list[np.ndarray]:
        if keys is ARRAYS:
            calls.append(path)
        return read(path, keys, **options)

    monkeypatch.setattr(npz, "read_arrays", counted)
    return calls


def entries(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()]


def assert_same(data: Dataset, expected: Dataset) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(data, name), getattr(expected, name))
        assert getattr(data, name).dtype == getattr(expected, name).dtype
    assert (data.classes, data.fingerprint) == (expected.classes, expected.fingerprint)


def test_a_file_is_decoded_once_and_mapped_then(cache: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded_files = count_decoding(monkeypatch)
    for _ in range(3):
        data = load_dataset(path)
        assert_same(data, tiny())
        assert data.name == "data.npz"
        assert all(is_shared(getattr(data, name)) for name in ARRAYS)
        with pytest.raises(ValueError, match="read-only"):
            data.x_train[0] = 0
    assert decoded_files == [path]
    (entry,) = entries(cache)
    np.testing.assert_array_equal(np.load(entry / "x_train.npy"), tiny().x_train)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert [item.name for item in cache.iterdir()] == [entry.name]


def test_jax_needs_no_copy_of_what_is_shared(cache: Path, path: Path) -> None:
    data = load_dataset(path)
    assert all(getattr(data, name).ctypes.data % 64 == 0 for name in ARRAYS)


@pytest.mark.parametrize("change", ["content", "touched", "another name", "meaning"])
def test_another_file_or_meaning_is_another_entry(
    cache: Path, path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    assert load_dataset(path).classes == 4
    times, decoded_files = path.stat(), count_decoding(monkeypatch)
    meaning: dict[str, Any] = {}
    if change == "content":  # in the same file, of the same size, and dated back
        content = save(path.with_name("other.npz"), tiny(classes=3)).read_bytes()
        assert len(content) == times.st_size
        with path.open("r+b") as file:
            file.write(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif change == "touched":
        os.utime(path)
    elif change == "another name":
        path = path.rename(path.with_name("renamed.npz"))
    else:
        meaning = {"classes": 7}
    data = load_dataset(path, **meaning)
    assert data.classes == {"content": 3, "meaning": 7}.get(change, 4)
    assert data.name == path.name
    assert len(decoded_files) == 1


def test_a_file_that_changes_while_it_is_decoded_is_not_kept(
    cache: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jaxinv.data import npz

    read = npz.read_arrays

    def slow(path: Path, *arguments: Any, **options: Any) -> list[np.ndarray]:
        arrays = read(path, *arguments, **options)
        save(path, tiny(classes=3))
        return arrays

    monkeypatch.setattr(npz, "read_arrays", slow)
    assert load_dataset(path).classes == 4
    assert not entries(cache)
    monkeypatch.undo()


def test_what_was_just_written_or_is_small_is_not_kept(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    load_dataset(path)
    monkeypatch.setattr(user_cache, "LEAST_BYTES", 0)
    load_dataset(path)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(user_cache, "SETTLED_SECONDS", 0)
    load_dataset(path)
    assert not (tmp_path / "cache").exists()


def test_doubts_are_said_each_time(cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = tiny()
    images = {"x_train": (data.x_train > 99).astype(np.uint8), "x_test": (data.x_test > 99).astype(np.uint8)}
    np.savez(tmp_path / "bits.npz", **images, y_train=3 * data.y_train, y_test=3 * data.y_test)  # pyright: ignore
    said = []
    for _ in range(3):
        caplog.clear()
        load_dataset(tmp_path / "bits.npz")
        said.append([(record.levelno, record.getMessage()) for record in caplog.records])
    assert said[0] == said[1] == said[2]
    assert [level for level, _ in said[0]] == [logging.WARNING] * 2
    assert "integers 0 and 1 are read as grey levels" in said[0][0][1]
    assert "no image has label 1, 2, 4, 5, 7" in said[0][1][1]


@pytest.mark.parametrize("name", [*(f"{name}.npy" for name in ARRAYS), "facts.json"])
def test_no_damage_goes_unnoticed(cache: Path, path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    load_dataset(path)
    (entry,) = entries(cache)
    whole = (entry / name).read_bytes()
    flips = [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(0, len(whole), max(1, len(whole) // 50))]
    for content in (*flips, whole[:-1], whole + b"\0", b""):
        (entry / name).unlink()
        (entry / name).write_bytes(content)
        caplog.clear()
        assert_same(load_dataset(path), tiny())
        assert "damaged (" in caplog.text, content
        assert (entry / name).read_bytes() == whole


def test_a_damaged_entry_is_told_from_one_that_others_remove(cache: Path, path: Path) -> None:
    load_dataset(path)
    (entry,) = entries(cache)
    data = load_dataset(path)
    shutil.rmtree(entry)
    assert_same(data, tiny())  # a map keeps what its file held
    assert_same(load_dataset(path), tiny())
    (entry,) = entries(cache)
    shutil.rmtree(entry / "x_test.npy", ignore_errors=True)
    (entry / "x_test.npy").unlink()
    with pytest.raises(DataError, match=r"damaged \(.*No such file"):
        Entry(entry, decoded.json.loads((entry / "facts.json").read_text())["facts"]["source"]).read()


def test_a_full_disk_is_no_failure(
    cache: Path, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        assert_same(load_dataset(path), tiny())
    assert "cannot be written (No space left on device)" in caplog.text
    assert not list(cache.iterdir())
    caplog.clear()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 20_000))  # pyright: ignore
        assert_same(load_dataset(path), tiny())
    assert "cannot be written (No space left on device)" in caplog.text
    assert not list(cache.iterdir())


@pytest.mark.parametrize("obstacle", ["a file", "others can write", "no home"])
def test_without_a_folder_each_decodes_for_itself(
    cache: Path, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, obstacle: str
) -> None:
    if obstacle == "a file":
        cache.parent.parent.write_text("")
        reason = "datasets: Not a directory"
    elif obstacle == "others can write":
        cache.mkdir(parents=True)
        cache.chmod(0o770)
        reason = "datasets can be written by others; remove it or chmod 700 it"
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where nobody knows the user
        reason = "Could not determine home directory"
    with pytest.raises(OSError, match=reason):
        own_cache_folder("datasets")
    decoded_files = count_decoding(monkeypatch)
    for _ in range(2):
        assert_same(load_dataset(path), tiny())
    assert len(decoded_files) == 2
    assert caplog.text == ""


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*arguments: object, **options: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    assert decoded_once(Entry(tmp_path / "entry", "source"), tiny, lambda: True).name == "tiny"
    assert "entry: cannot be written (Permission denied), so that the dataset is decoded at each use" in caplog.text


def test_the_least_recently_used_go_first(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(getattr(tiny(), name).nbytes for name in ARRAYS)
    monkeypatch.setattr(user_cache, "MOST_BYTES", 3.5 * size)
    paths = [save(tmp_path / f"{number}.npz") for number in range(5)]
    decoded_files = count_decoding(monkeypatch)
    for path in (*paths[:3], paths[0], paths[3]):  # 1 has to go
        load_dataset(path)
        time.sleep(0.02)
    assert len(entries(cache)) == 3
    decoded_files.clear()
    for number in (0, 2, 3):
        load_dataset(paths[number])
    assert not decoded_files
    load_dataset(paths[1])
    assert decoded_files == [paths[1]]


def test_what_is_larger_than_all_may_be_is_not_kept(cache: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_cache, "MOST_BYTES", 1000)
    assert_same(load_dataset(path), tiny())
    assert not entries(cache)


def test_what_a_killed_process_began_is_removed_in_time(cache: Path, path: Path) -> None:
    for name, age in ((".part-new", 0), (".part-old", 2 * user_cache.ABANDONED_SECONDS)):
        (cache / name).mkdir(parents=True)
        (cache / name / "x_train.npy").write_bytes(b"half")
        os.utime(cache / name, (time.time() - age, time.time() - age))
    cache.chmod(0o700)
    load_dataset(path)
    assert [item.name for item in cache.iterdir() if item.name.startswith(".")] == [".part-new"]


def test_files_that_another_machine_could_remove_are_read_instead(
    cache: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a map of such a file the process would be ended by SIGBUS."""

    def mounts(all: bool) -> list[Any]:
        mounted = {"/": "ext4", str(cache.parent.parent): "nfs4", str(cache.parent / "other"): "ext4"}
        return [SimpleNamespace(mountpoint=point, fstype=kind) for point, kind in mounted.items()]

    monkeypatch.setattr(decoded.psutil, "disk_partitions", mounts)
    decoded_files = count_decoding(monkeypatch)
    for _ in range(2):
        data = load_dataset(path)
        assert_same(data, tiny())
        assert not is_shared(data.x_train)
    assert len(decoded_files) == 1


def test_whoever_waits_in_vain_decodes_for_itself(cache: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jaxinv.utils.locks import locked

    monkeypatch.setattr(decoded, "WAIT_SECONDS", 0.3)
    load_dataset(path)
    (entry,) = entries(cache)
    shutil.rmtree(entry)
    with locked(entry.with_name(f".{entry.name}.lock"), seconds=1, what="testing") as mine:
        assert mine
        assert_same(load_dataset(path), tiny())
    assert not list(cache.iterdir())


LOAD = """
import sys, time
from jaxinv.data import npz, load_dataset, user_cache
user_cache.LEAST_BYTES = user_cache.SETTLED_SECONDS = 0
read = npz.read_arrays
def slow(path, keys=npz.ARRAYS, **options):
    if keys is npz.ARRAYS:
        time.sleep(0.5)
        print("decoded", flush=True)
    return read(path, keys, **options)
npz.read_arrays = slow
sys.stdin.readline()
print(load_dataset(sys.argv[1]).fingerprint)
"""


@pytest.mark.slow
def test_of_three_processes_one_decodes(cache: Path, path: Path) -> None:
    command = [sys.executable, "-c", LOAD, str(path)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    lines = [line for process in processes for line in process.communicate(timeout=60)[0].splitlines()]
    assert sorted(lines) == sorted(["decoded", *[tiny().fingerprint] * 3])


@pytest.mark.slow
def test_the_bundled_mnist_is_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_anew() -> Dataset:
        for cached in (bundled.bundled_mnist, bundled.tutorial_mnist):
            cached.cache_clear()
        return load_dataset("mnist")

    load_anew()
    with monkeypatch.context() as patch:
        patch.setattr(bundled, "read_packed", None)
        data = load_anew()
    assert is_shared(data.x_train)
    assert np.shares_memory(data.x_train, bundled.bundled_mnist().x_train)
    x_train, _, _, y_test = bundled.read_packed(bundled.PACKED, bundled.PACKED_SHA256)
    np.testing.assert_array_equal(data.x_train[..., 0], x_train[5_000:])
    np.testing.assert_array_equal(data.y_test, y_test)


def test_a_limit_is_never_passed_by(cache: Path, path: Path) -> None:
    load_dataset(path)
    with pytest.raises(InputError, match="are not allowed; give at most 1,000"):
        read_npz(path, limit=1000)


@pytest.mark.slow
def test_large_images_that_are_mapped_are_read_where_they_are(
    cache: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the processor's own device; small ones are copied into large pages."""
    monkeypatch.setattr(trial_runner, "LARGE_BYTES", 0)
    data = load_dataset(path)
    placed = TrialRunner(resolve(Study(dataset=data, batch_size=10)), local_hardware(1), None)
    placed._prepare()
    images = placed._ready[0][2][-1].x_train
    assert images.unsafe_buffer_pointer() == data.x_train.ctypes.data
    monkeypatch.undo()
    trial_runner._placed.clear()
    copied = TrialRunner(resolve(Study(dataset=data, batch_size=10)), local_hardware(1), None)
    copied._prepare()
    assert copied._ready[0][2][-1].x_train.unsafe_buffer_pointer() != data.x_train.ctypes.data
