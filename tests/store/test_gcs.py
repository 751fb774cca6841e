"""Runs in Google Cloud Storage: its client, against the part of its interface that a run needs."""

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec.config
import pytest
import xarray as xr
from fsspec.registry import _registry as registry

from jaxinv.errors import DataError
from jaxinv.store import check_can_hold, load, remote
from jaxinv.store.storage import Storage
from tests.store.gcs_server import Server
from tests.store.test_store import fill, make_study, open_store, whole_run

core = pytest.importorskip("gcsfs.core", reason="needs the extra gcs")
URL = "gs://bucket/runs/x"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    # The file system without hierarchical buckets, of which newer versions ask in another way.
    monkeypatch.setitem(registry, "gs", core.GCSFileSystem)
    with Server() as served:
        served.buckets["bucket"] = {}
        monkeypatch.setitem(fsspec.config.conf, "gs", {"endpoint_url": served.url, "token": "anon"})
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.mark.slow
def test_same_results(tmp_path: Path, server: Server) -> None:
    check_can_hold(URL, make_study())
    with open_store(URL, 6) as store:
        fill(store)
        with pytest.raises(DataError, match=f"^out: '{URL}' is in use by process {os.getpid()} on "):
            open_store(URL)
    stored = whole_run(URL)
    xr.testing.assert_identical(stored, whole_run(tmp_path))
    xr.testing.assert_identical(load(URL), stored)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} - {".lock"}
    assert server.buckets["bucket"] == {f"runs/x/{name}": (tmp_path / name).read_bytes() for name in names}


def test_create(server: Server) -> None:
    storage = Storage(URL)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda i: storage.create("claims/0", str(i).encode()), range(8)))
    assert made.count(True) == 1
    assert storage.read("claims/0") == str(made.index(True)).encode()
    assert [query["ifGenerationMatch"] for query in server.uploads] == [["0"]] * 8


def test_names_and_removal(server: Server) -> None:
    storage = Storage(URL)
    server.buckets["bucket"] = {f"runs/x/{key}": b"" for key in ("", "a", "ab", "a-b", "d/", "d/e")}
    assert storage.names() == ["a", "a-b", "ab", "d"]
    assert storage.names("d") == ["e"]
    assert storage.names("none") == []
    server.buckets["bucket"]["runs/x/new"] = b""  # by another client
    for key in ("new", "a", "d", "none"):
        storage.remove(key)
    assert set(server.buckets["bucket"]) - {"runs/x/"} == {"runs/x/a-b", "runs/x/ab"}


def test_wrong_bucket(server: Server) -> None:
    check_can_hold("gs://no-such-bucket/x", make_study())  # the client says no more than that nothing is there
    with pytest.raises(DataError, match=r"^gs://no-such-bucket/x/.lock: cannot be written \(.*\); what was finished"):
        open_store("gs://no-such-bucket/x")
    assert "no-such-bucket" not in server.buckets


@pytest.mark.slow
def test_endpoint_down(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SECONDS", 0.5)
    monkeypatch.setattr(remote, "BYTES_PER_SECOND", 1e12)  # else reading may take minutes, and gcsfs asks for 33 s
    with socket.socket() as nobody:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setitem(fsspec.config.conf, "gs", {"endpoint_url": endpoint, "token": "anon"})
        with pytest.raises(DataError, match=rf"^out: '{URL}' cannot be read \(no answer within 0.5 s\)$"):
            load(URL)
