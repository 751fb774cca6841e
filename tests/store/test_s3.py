"""Runs in a bucket of S3, served on loopback: killed, resumed, locked; and what goes wrong, each in one line.

Processes to be killed are Pythons of their own. `python -m tests.store.test_s3 URL` writes the first block of a run,
holds the folder and waits; with a number it is one of four workers, of which the first claims a second block and waits.
"""

import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fsspec.config
import pytest
import xarray as xr

from jaxinv.errors import DataError, InputError
from jaxinv.store import check_can_hold, describe_progress, load, lock, remote
from jaxinv.store.storage import Storage
from tests.store.test_store import LAYOUT, check_values, fill, make_study, open_store, results_of, whole_run

pytest.importorskip("s3fs", reason="needs the extra s3")
pytest.importorskip("moto.server", reason="needs the extra test-s3")

ROOT = Path(__file__).parents[2]
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
buckets = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
    served = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    served.start()
    host, port = served.get_host_and_port()
    yield f"http://{host}:{port}"
    served.stop()


@pytest.fixture
def system(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The file system of the server; its address is where fsspec looks for that."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    reach(monkeypatch, server)
    return fsspec.filesystem("s3")


def reach(monkeypatch: pytest.MonkeyPatch, endpoint: str, **options: object) -> None:
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": endpoint, **options})
    monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", endpoint)  # where other processes read it


@pytest.fixture
def url(system: Any) -> str:
    bucket = f"bucket-{next(buckets)}"
    system.mkdir(bucket)
    return f"s3://{bucket}/runs/x"


def keys(system: Any, url: str) -> set[str]:
    root = url.removeprefix("s3://") + "/"
    system.invalidate_cache()
    return {path.removeprefix(root) for path in system.find(root)}


@pytest.mark.slow
def test_same_results(tmp_path: Path, system: Any, url: str) -> None:
    check_can_hold(url, make_study())
    assert keys(system, url) == set()
    with open_store(url, 6) as store:
        fill(store, 1)
    assert describe_progress(url) == (4, 6)
    check_values(load(url))
    stored = whole_run(url)
    xr.testing.assert_identical(stored, whole_run(tmp_path))
    xr.testing.assert_identical(load(url), stored)
    with xr.open_zarr(f"{url}/results.zarr") as seen:
        check_values(seen.load())
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} - {".lock"}
    assert keys(system, url) == files
    for name in files:
        assert system.cat_file(f"{url}/{name}") == (tmp_path / name).read_bytes(), name


@pytest.mark.slow
def test_killed_and_resumed(tmp_path: Path, system: Any, url: str) -> None:
    command = [sys.executable, "-m", __name__, url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == "written\n"
            with pytest.raises(DataError, match=f"^out: '{url}' is in use by process {process.pid} on "):
                open_store(url)
        finally:
            process.send_signal(signal.SIGKILL)
    assert lock.LOCK in keys(system, url)
    assert describe_progress(url) == (4, 10)
    with open_store(url) as store:
        assert store.notes == []
        assert fill(store) == 6
        store.finish()
    xr.testing.assert_identical(load(url), whole_run(tmp_path))
    assert lock.LOCK not in keys(system, url)


@pytest.mark.slow
def test_four_workers_of_which_one_is_killed(tmp_path: Path, system: Any, url: str) -> None:
    with ExitStack() as stack:

        def start(index: int) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", __name__, url, str(index)]
            worker = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
            stack.callback(worker.kill)
            return worker

        first = start(0)
        assert first.stdout
        assert first.stdout.readline() == "claimed\n"
        others = [start(index) for index in range(1, 4)]
        time.sleep(1)
        first.kill()
        computed = [int(worker.communicate(timeout=120)[0]) for worker in others]
    assert [worker.returncode for worker in others] == [0, 0, 0]
    assert sum(computed) >= 36  # twice, perhaps, where the machine is slow
    xr.testing.assert_identical(load(url), whole_run(tmp_path, 40))
    assert not [key for key in keys(system, url) if key.startswith(".claims")]
    with open_store(url, 40) as store:
        assert store.notes == list(store.todo()) == []
    assert keys(system, url) >= {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("c.*")}


@pytest.mark.slow
def test_lease_of_another_machine(system: Any, url: str) -> None:
    held = {"holder": "process 1 on elsewhere", "host": "elsewhere", "pid": 1, "token": "t", "time": time.time() - 500}
    system.pipe_file(f"{url}/.lock", json.dumps(held).encode())
    with pytest.raises(DataError, match=r"process 1 on elsewhere \(if that was killed: in (99|100) s, or"):
        open_store(url)
    system.pipe_file(f"{url}/.lock", json.dumps({**held, "time": time.time() - lock.LEASE_SECONDS}).encode())
    with open_store(url) as store:
        assert json.loads(system.cat_file(f"{url}/.lock"))["pid"] == os.getpid()
        assert keys(system, url) == {".lock", "study.json"} | {key for key in keys(system, url) if "zarr" in key}
        system.pipe_file(f"{url}/.lock", json.dumps({**held, "time": time.time()}).encode())
        store._lock._renewed -= lock.RENEW_SECONDS  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(DataError, match="is in use by process 1 on elsewhere"):
            fill(store, 1)
    assert lock.LOCK in keys(system, url)


def test_create(system: Any, url: str) -> None:
    storage = Storage(url)
    assert storage.create("claims/0", b"mine")
    assert not storage.create("claims/0", b"mine")
    assert not Storage(url).create("claims/0", b"other")
    assert storage.read("claims/0") == b"mine"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda i: Storage(url).create("claims/1", str(i).encode()), range(8)))
    assert made.count(True) == 1
    assert storage.read("claims/1") == str(made.index(True)).encode()


@pytest.mark.slow
def test_names_and_removal(system: Any, url: str) -> None:
    storage = Storage(url)
    for key in ("", "a", "ab", "a-b", "d/", "d/e"):  # "" and "d/": what consoles make for empty folders
        system.pipe_file(f"{url}/{key}", b"")
    assert storage.names("d") == ["e"]
    assert storage.names("none") == []
    assert storage.names() == ["a", "a-b", "ab", "d"]
    others = fsspec.filesystem("s3", skip_instance_cache=True)
    others.pipe_file(f"{url}/d/f", b"")
    others.pipe_file(f"{url}/new", b"")
    for key in ("new", "a", "d", "none"):
        storage.remove(key)
    assert storage.names() == ["a-b", "ab"]
    assert keys(system, url) - {""} == {"a-b", "ab"}


@pytest.mark.parametrize(
    ("bucket", "why"),
    [
        ("no-such-bucket", r"The specified bucket does not exist"),
        ("no such bucket", r"Parameter validation failed: Invalid bucket name .no such bucket.: .*"),
    ],
)
def test_wrong_bucket(bucket: str, why: str, system: Any) -> None:
    url = f"s3://{bucket}/x"
    for call in (lambda: check_can_hold(url, make_study()), lambda: load(url), lambda: open_store(url)):
        with pytest.raises(InputError, match=rf"^out: '{url}' cannot be read \({why}\); give another folder$"):
            call()
    with pytest.raises((InputError, DataError), match=rf"cannot be read \({why}\)"):
        Storage(url).read("a")
    with pytest.raises(DataError, match=rf"^{url}/a/b: cannot be written \({why}\); what was finished is kept"):
        Storage(url).write("a/b", b"x")
    with pytest.raises(DataError, match=rf"^{url}/a/b: cannot be written \({why}\); what was finished is kept"):
        Storage(url).create("a/b", b"x")
    assert bucket not in system.ls("")


def test_no_credentials(server: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    reach(monkeypatch, server, use_ssl=False)  # with another client than the one that has them
    with pytest.raises(InputError, match=rf"^out: '{url}' cannot be read \(Unable to locate credentials\); give"):
        check_can_hold(url, make_study())
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    reach(monkeypatch, server, requester_pays=True)
    with pytest.raises(InputError, match=r"cannot be read \(The config profile \(nobody\) could not be found\); give"):
        load(url)


@pytest.mark.slow
def test_endpoint_down(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        once = {"retries": {"max_attempts": 0}}
        reach(monkeypatch, f"http://127.0.0.1:{nobody.getsockname()[1]}", config_kwargs=once)
        why = r"\(Could not connect to the endpoint URL: .*\)"
        with pytest.raises(DataError, match=rf"^out: '{url}' cannot be read {why}$"):
            check_can_hold(url, make_study())
        with pytest.raises(DataError, match=rf"^out: '{url}' cannot be read {why}$"):
            load(url)
        with pytest.raises(DataError, match=rf"^{url}/a: cannot be written {why}; what was finished is kept"):
            Storage(url).create("a", b"x")


@pytest.mark.slow
def test_endpoint_silent(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SECONDS", 0.3)
    monkeypatch.setattr(remote, "READ_BYTES", 0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        reach(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        storage = Storage(url)
        began = time.monotonic()
        with pytest.raises(DataError, match=rf"^out: '{url}' cannot be read \(no answer within 0.3 s\)$"):
            storage.names()
        for call in (
            lambda: storage.read("a"),
            lambda: storage.write("a", b"x"),
            lambda: storage.create("a", b"x"),
            lambda: storage.remove("a"),
        ):
            with pytest.raises(DataError, match=rf"^{url}/a: cannot be \w+ \(no answer within 0.3 s\)"):
                call()
    assert time.monotonic() - began < 10


def test_wrong_endpoint(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reach(monkeypatch, "rubbish")
    with pytest.raises(InputError, match=rf"^out: '{url}' cannot be read \(Invalid endpoint: rubbish\); give"):
        load(url)


@pytest.mark.slow
def test_one_line_of_the_command(url: str, system: Any) -> None:
    command = [sys.executable, "-m", "jaxinv", "run", "--trials", "2", "--steps", "2", "--quiet", "--out"]
    done = subprocess.run([*command, "s3://no-such-bucket/x"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert "out: 's3://no-such-bucket/x' cannot be read (The specified bucket does not exist)" in done.stderr
    assert done.stderr.count("\n") == 1


def hold(url: str) -> None:
    with open_store(url) as store:
        fill(store, 1)
        partly = results_of(LAYOUT, 4, 4).values["accuracy"]
        store.storage.write("results.zarr/accuracy/c.0.0.1.0", partly.tobytes())  # of a block without a mark
        print("written", flush=True)
        time.sleep(600)


def work(url: str, index: int) -> None:
    computed = 0
    with open_store(url, 40, share=(index, 4)) as store:
        while not store.complete():
            for first, trials in store.todo():
                if index == 0 and computed:
                    print("claimed", flush=True)
                    time.sleep(600)
                store.write(first, results_of(store.schema, first, trials))
                computed += trials
        store.finish()
    print(computed, flush=True)


if __name__ == "__main__":
    hold(sys.argv[1]) if len(sys.argv) == 2 else work(sys.argv[1], int(sys.argv[2]))
