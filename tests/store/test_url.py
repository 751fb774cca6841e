"""Runs in a folder at a URL: the same results; what stands for the lock."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import fsspec
import pytest
import xarray as xr
from fsspec.registry import _registry as registry

from jaxinv.errors import DataError, InputError
from jaxinv.store import check_can_hold, describe_progress, load, lock, remote
from tests.store.test_store import check_values, fill, make_study, open_store, whole_run

URL = "memory://bucket/runs/x"


@pytest.fixture(autouse=True)
def system() -> Iterator[Any]:
    memory = fsspec.filesystem("memory")
    yield memory
    memory.rm("/bucket", recursive=True) if memory.exists("/bucket") else None


def write_lock(system: Any, **changes: object) -> None:
    held = {"holder": "process 1 on elsewhere", "host": "elsewhere", "pid": 1, "token": "t", "time": time.time()}
    system.pipe_file("/bucket/runs/x/.lock", json.dumps({**held, **changes}).encode())


def test_same_results(tmp_path: Path, system: Any) -> None:
    check_can_hold(URL, make_study())
    assert not system.exists("/bucket")
    with open_store(URL, 6) as store:
        fill(store, 1)
    assert describe_progress(URL) == (4, 6)
    check_values(load(URL))
    stored = whole_run(URL)
    xr.testing.assert_identical(stored, whole_run(tmp_path))
    xr.testing.assert_identical(load(URL), stored)
    with xr.open_zarr(f"{URL}/results.zarr") as seen:
        check_values(seen.load())
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} - {".lock"}
    assert {path.removeprefix("/bucket/runs/x/") for path in system.find("/bucket")} == files
    for name in files:
        assert system.cat_file(f"/bucket/runs/x/{name}") == (tmp_path / name).read_bytes(), name


def test_damage(system: Any) -> None:
    whole = whole_run(URL)
    system.rm("/bucket/runs/x/results.zarr/accuracy/c.0.0.1.0")
    with pytest.raises(DataError, match=f"^{URL}/results.zarr/accuracy/c.0.0.1.0 is missing; the command"):
        load(URL)
    with open_store(URL) as store:
        assert list(store.todo()) == [(4, 4)]
    xr.testing.assert_identical(whole_run(URL), whole)


def test_refusals(system: Any) -> None:
    system.pipe_file("/bucket/other/photo.jpg", b"x")
    with pytest.raises(InputError, match=r"^out: 'memory://bucket/other' holds something else \(photo.jpg\)"):
        check_can_hold("memory://bucket/other", make_study())
    whole_run(URL)
    with pytest.raises(InputError, match="another study"):
        check_can_hold(URL, make_study(seed=4))
    with pytest.raises(InputError, match="is not the folder of a stored run"):
        load("memory://bucket/nothing")


@pytest.mark.parametrize(
    ("url", "client", "extra"),
    [
        ("s3://b/x", "s3fs", "s3"),
        ("s3a://b/x", "s3fs", "s3"),
        ("gs://b/x", "gcsfs", "gcs"),
        ("gcs://b/x", "gcsfs", "gcs"),
    ],
)
def test_client_not_installed(url: str, client: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, client, None)
    monkeypatch.delitem(registry, url.partition("://")[0], raising=False)
    says = (
        rf"^out: '{url}' needs a package that is not installed \(.*\); install it with: pip install 'jaxinv\[{extra}\]'"
    )
    for call in (lambda: check_can_hold(url, make_study()), lambda: load(url), lambda: open_store(url)):
        with pytest.raises(InputError, match=says):
            call()


def test_clients_of_any_version(monkeypatch: pytest.MonkeyPatch) -> None:
    class HttpError(Exception):
        pass

    client = ModuleType("gcsfs.retry")
    client.__dict__["HttpError"] = HttpError  # and none of the others
    monkeypatch.setitem(sys.modules, "gcsfs.retry", client)
    assert HttpError in remote.refusals()
    for module in remote.CLIENTS:
        monkeypatch.delitem(sys.modules, module, raising=False)
    assert remote.refusals() == remote.REFUSALS


def test_other_urls() -> None:
    with pytest.raises(InputError, match=r"^out: 'rubbish://x' cannot be opened \(Protocol not known: rubbish\); give"):
        check_can_hold("rubbish://x", make_study())


def test_file_url(tmp_path: Path) -> None:
    whole = whole_run(f"file://{tmp_path}/x")
    xr.testing.assert_identical(load(tmp_path / "x"), whole)
    assert (tmp_path / "x" / ".lock").exists()  # the kernel's lock, as for a path


def test_in_use(system: Any) -> None:
    with open_store(URL), pytest.raises(DataError, match=f"'{URL}' is in use by process {os.getpid()} on "):
        open_store(URL)
    assert not system.exists("/bucket/runs/x/.lock")
    write_lock(system)
    with pytest.raises(
        DataError, match=r"is in use by process 1 on elsewhere \(if that was killed: in (599|600) s, or"
    ):
        open_store(URL)


def test_a_crash_leaves_nothing_stuck(system: Any) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write_lock(system, time=time.time() - lock.LEASE_SECONDS - 1)
    whole_run(URL)
    write_lock(system, host=socket.gethostname(), pid=gone.pid)
    whole_run(URL, 11)
    for torn in (b"", b"{", b"[]", b'{"time": 1}'):
        system.pipe_file("/bucket/runs/x/.lock", torn)
        whole_run(URL, 11)


def test_renewed_and_lost(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def held() -> float:
        return json.loads(system.cat_file("/bucket/runs/x/.lock"))["time"]

    with open_store(URL, 20) as store:
        before = held()
        fill(store, 1)
        assert held() == before
        monkeypatch.setattr(lock, "RENEW_SECONDS", 0)
        fill(store, 1)
        assert held() > before
        write_lock(system)
        with pytest.raises(DataError, match="is in use by process 1 on elsewhere"):
            fill(store, 1)
    assert system.exists("/bucket/runs/x/.lock")  # it is the other's


class Odd(fsspec.AbstractFileSystem):
    """A file system whose client raises errors of its own."""

    protocol = "odd"
    fails = ""

    class Error(Exception):
        """As some clients have it: of no kind that anybody knows."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._check("open")

    def _check(self, name: str) -> None:
        if self.fails in (name, "all"):
            raise Odd.Error("no\nway")

    def cat_file(self, path: str, start: Any = None, end: Any = None, **options: Any) -> bytes:
        self._check("read")
        raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        self._check("list")
        return []

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        self._check("write")


@pytest.mark.parametrize("fails", ["open", "read", "list", "write"])
def test_any_error_of_a_client_is_one_line(monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    monkeypatch.setitem(registry, "odd", Odd)
    monkeypatch.setattr(Odd, "cachable", False)
    monkeypatch.setattr(Odd, "fails", fails)
    with pytest.raises((InputError, DataError), match=r"odd://a.*\(Error: no way\)"):
        open_store("odd://a/b")


def test_a_url_that_lacks_a_part_is_one_line() -> None:
    with pytest.raises(InputError, match=r"out: 'github://a' cannot be opened \(TypeError: .*\); give another place"):
        check_can_hold("github://a", make_study())
