"""Preparing without TensorFlow: downloads from a server on this machine, and what is said when none answers."""

import contextlib
import gzip
import hashlib
import http.server
import io
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds
from PIL import Image

from jaxinv.data import bundled_mnist, describe_datasets, load_dataset, load_tfds
from jaxinv.data.tfds import prepare
from jaxinv.data.tfds.folders import quiet
from jaxinv.data.tfds.prepare import FILES, downloads, fetch, png
from jaxinv.errors import DataError
from jaxinv.utils.locks import locked

ORIGINAL_FILES = Path(__file__).parents[3] / "shared" / "data" / "mnist"
RNG = np.random.default_rng(50)
CONTENT = b"some file" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    files: dict[str, bytes] = {}  # noqa: RUF012 (set anew by each server)

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if name == "stalls":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"a")
            self.wfile.flush()
            time.sleep(1.5)
        elif name == "breaks":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"a")
        elif name not in self.files:
            self.send_error(404)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.files[name])

    def log_message(self, format, *args) -> None:
        pass


@contextlib.contextmanager
def serving(files: dict[str, bytes]) -> Iterator[str]:
    handler = type("Handler", (Handler,), {"files": files})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/data/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")


class TestFetch:
    def test_a_whole_file(self, tmp_path):
        with serving({"a": CONTENT}) as url:
            fetch(url + "a", tmp_path / "a", len(CONTENT), SHA256)
        assert (tmp_path / "a").read_bytes() == CONTENT
        assert os.listdir(tmp_path) == ["a"]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("none", "404 Client Error"),
            ("short", r"is not the published file \(size or SHA-256 differs\)"),
            ("long", "is not the published file"),
            ("other", "is not the published file"),
            ("stalls", "timed out"),
            ("breaks", "IncompleteRead|is not the published file"),
        ],
    )
    def test_anything_else_leaves_nothing_behind(self, tmp_path, monkeypatch, name, message):
        monkeypatch.setattr(prepare, "ANSWER_SECONDS", 0.3)
        files = {"short": CONTENT[:-1], "long": CONTENT * 2, "other": CONTENT[:-1] + b"?"}
        with (
            serving(files) as url,
            pytest.raises(DataError, match=rf"^{url}{name}: .*({message})") as caught,
        ):
            fetch(url + name, tmp_path / "a", len(CONTENT), SHA256)
        assert "\n" not in str(caught.value)
        assert not os.listdir(tmp_path)

    def test_a_port_where_nobody_listens(self, tmp_path):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}/a"
            with pytest.raises(DataError, match=rf"^{url}: .*refused"):
                fetch(url, tmp_path / "a", 1, SHA256)

    def test_a_server_that_never_answers(self, tmp_path, monkeypatch):
        monkeypatch.setattr(prepare, "ANSWER_SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/a"
            with pytest.raises(DataError, match=rf"^{url}: .*timed out"):
                fetch(url, tmp_path / "a", 1, SHA256)

    def test_a_look_up_of_a_name_that_hangs(self, tmp_path, monkeypatch):
        """`requests` has no timeout for it, so it is waited for from outside."""
        release = threading.Event()

        def hangs(*args, **kwargs):
            release.wait(20)
            raise requests.ConnectionError("too late")

        monkeypatch.setattr(requests, "get", hangs)
        monkeypatch.setattr(prepare, "FIRST_SECONDS", 0.2)
        start = time.monotonic()
        with pytest.raises(DataError, match=r"^http://nowhere/a: no answer within 0\.2 s$"):
            fetch("http://nowhere/a", tmp_path / "a", 1, SHA256)
        assert time.monotonic() - start < 5
        release.set()

    def test_the_limits_keep_an_answer_within_ten_seconds(self):
        assert prepare.ANSWER_SECONDS < prepare.FIRST_SECONDS < 10


class TestNoNetwork:
    @pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
    def test_what_to_place_where(self, tmp_path, monkeypatch, name, capfd):
        def refuses(*args, **kwargs):
            raise requests.ConnectionError("Name or service not known")

        monkeypatch.setattr(requests, "get", refuses)
        with pytest.raises(DataError) as caught:
            load_dataset(f"tfds:{name}", data_dir=tmp_path)
        message = str(caught.value)
        assert message.startswith(f"'tfds:{name}' cannot be downloaded (http")
        assert "Name or service not known" in message
        assert f"place {', '.join(FILES)} from http" in message
        assert message.endswith(f"into {tmp_path / 'downloads' / name}")
        assert "\n" not in message
        assert not list(tmp_path.glob(f"{name}*"))
        assert capfd.readouterr().out == ""

    def test_a_manual_folder_must_hold_everything(self, tmp_path):
        with pytest.raises(DataError, match=r"'tfds:mnist' needs train-images-idx3-ubyte\.gz, .* there, from https://"):
            load_tfds("mnist", data_dir=tmp_path / "data", manual_dir=tmp_path)
        assert not (tmp_path / "data").exists()

    def test_a_placed_file_that_is_another_one(self, tmp_path):
        path = tmp_path / "downloads" / "kmnist" / FILES[1]
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT)
        with pytest.raises(
            DataError, match=r"train-labels-idx1-ubyte\.gz: is not the published file .*; replace it by http"
        ):
            load_tfds("kmnist", data_dir=tmp_path)
        assert path.read_bytes() == CONTENT

    def test_a_data_dir_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match=r"file/data: Not a directory$"):
            load_tfds("mnist", data_dir=tmp_path / "file" / "data")


def test_the_addresses_and_checksums_are_those_of_tensorflow_datasets():
    files = downloads("fashion_mnist")
    assert tuple(files) == FILES
    url, size, sha256 = files["t10k-labels-idx1-ubyte.gz"]
    assert url.startswith("http://fashion-mnist.")
    assert (size, sha256) == (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5")


@pytest.mark.parametrize("shape", [(28, 28), (1, 1), (3, 70)])
def test_a_png_is_read_back_by_pillow(shape):
    image = RNG.integers(0, 256, shape, dtype=np.uint8)
    with Image.open(io.BytesIO(png(image))) as decoded:
        assert (decoded.format, decoded.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(decoded), image)


def originals() -> tuple[dict[str, np.ndarray], dict[str, bytes]]:
    """A few random images and labels, by the names of KMNIST's original files; and these files."""
    arrays = {}
    for prefix, count in (("train", 30), ("t10k", 12)):
        arrays[f"{prefix}-images-idx3-ubyte.gz"] = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{prefix}-labels-idx1-ubyte.gz"] = RNG.integers(0, 10, count, dtype=np.uint8)
    return arrays, {
        name: gzip.compress(struct.pack(f">{1 + array.ndim}i", 2048 + array.ndim, *array.shape) + array.tobytes())
        for name, array in arrays.items()
    }


def kmnist_of(files: dict[str, bytes], url: str) -> type:
    """The stock builder of KMNIST, but for these files at that address."""
    with quiet():
        stock = tfds.builder_cls("kmnist")
    infos = {
        url + name: tfds.download.checksums.UrlInfo(len(content), hashlib.sha256(content).hexdigest(), name)  # pyright: ignore
        for name, content in files.items()
    }
    changes = {"URL": url, "url_infos": infos, "name": "kmnist", "__module__": stock.__module__}
    return type("TinyKmnist", (stock,), changes, skip_registration=True)


@pytest.fixture
def tiny_kmnist(monkeypatch) -> Iterator[dict[str, np.ndarray]]:
    """A KMNIST of a few random images, its files on a server on this machine."""
    arrays, files = originals()
    with serving(files) as url:
        tiny = kmnist_of(files, url)
        monkeypatch.setattr(tfds, "builder_cls", lambda name: tiny)
        yield arrays


def pairs(images: np.ndarray, labels: np.ndarray) -> list[bytes]:
    return sorted(image.tobytes() + bytes([label]) for image, label in zip(images, labels, strict=True))


def test_download_prepare_read(tmp_path, tiny_kmnist, capfd):
    data = load_dataset("tfds:kmnist", data_dir=tmp_path)
    assert pairs(data.x_train, data.y_train) == pairs(*[tiny_kmnist[name] for name in FILES[:2]])
    assert pairs(data.x_test, data.y_test) == pairs(*[tiny_kmnist[name] for name in FILES[2:]])
    assert (data.name, data.classes) == ("tfds:kmnist", 10)
    assert sorted(path.name for path in (tmp_path / "downloads" / "kmnist").iterdir()) == sorted(FILES)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "Dl " not in captured.err

    # stock tensorflow-datasets reads what was prepared
    with quiet():
        builder = tfds.builder_from_directory(str(next((tmp_path / "kmnist").glob("*.*.*"))))
        assert type(builder).__module__ == "tensorflow_datasets.core.read_only_builder"
        assert builder.info.module_name == "tensorflow_datasets.image_classification.mnist"
        rows = list(builder.as_data_source("test"))  # pyright: ignore
    assert pairs(np.stack([row["image"] for row in rows]), np.array([row["label"] for row in rows])) == pairs(
        data.x_test, data.y_test
    )


def test_only_what_is_missing_is_downloaded(tmp_path, tiny_kmnist, monkeypatch):
    load_tfds("kmnist", data_dir=tmp_path / "first")
    kept = tmp_path / "second" / "downloads" / "kmnist"
    kept.mkdir(parents=True)
    for name in FILES[1:]:
        (kept / name).write_bytes((tmp_path / "first" / "downloads" / "kmnist" / name).read_bytes())
    asked, get = [], requests.get
    monkeypatch.setattr(requests, "get", lambda url, **options: (asked.append(url), get(url, **options))[1])
    data = load_tfds("kmnist", data_dir=tmp_path / "second")
    assert [url.rpartition("/")[2] for url in asked] == [FILES[0]]
    assert data.fingerprint == load_tfds("kmnist", data_dir=tmp_path / "first").fingerprint
    assert len(asked) == 1, "what is prepared is not downloaded again"


def test_another_process_that_is_faster(tmp_path, tiny_kmnist, monkeypatch):
    make = prepare.tensorflow_free

    def slow(stock):
        class Slow(make(stock), skip_registration=True):  # pyright: ignore
            name, url_infos = stock.name, stock.url_infos

            def _split_generators(self, dl_manager):
                config = tfds.download.DownloadConfig(manual_dir=str(tmp_path / "downloads" / "kmnist"))
                make(stock)(data_dir=str(tmp_path)).download_and_prepare(
                    file_format="array_record", download_config=config
                )
                return super()._split_generators(dl_manager)

        return Slow

    monkeypatch.setattr(prepare, "tensorflow_free", slow)
    data = load_tfds("kmnist", data_dir=tmp_path)
    assert pairs(data.x_test, data.y_test) == pairs(*[tiny_kmnist[name] for name in FILES[2:]])


LOAD = """
import sys, time
from pathlib import Path
import tensorflow_datasets as tfds
from jaxinv.data import load_tfds
from jaxinv.data.tfds import load, prepare
from jaxinv.utils import locks
from tests.data.test_tfds_prepare import kmnist_of

root, seconds = Path(sys.argv[1]), float(sys.argv[2])
files = {path.name: path.read_bytes() for path in (root / "downloads" / "kmnist").glob("*.gz")}
tiny = kmnist_of(files, "http://127.0.0.1:9/")
tfds.builder_cls = lambda name: tiny
locks.SILENT_SECONDS = 0.2
make, decode = prepare.tensorflow_free, load._decode

def slow_make(stock):
    print("prepares", file=sys.__stdout__, flush=True)  # past what is kept quiet
    time.sleep(seconds)
    return make(stock)

def said_decode(*arguments):
    print("decodes", flush=True)
    return decode(*arguments)

prepare.tensorflow_free, load._decode = slow_make, said_decode
print("ready", flush=True)
sys.stdin.readline()
print(load_tfds("kmnist", data_dir=root).fingerprint)
"""


def loading(root: Path, seconds: float) -> Any:
    """A process that loads the dataset, once it is told to, and takes so many seconds longer to prepare it."""
    command = [sys.executable, "-c", LOAD, str(root), str(seconds)]
    pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], text=True, **pipes)


def go(process: Any) -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "downloads" / "kmnist"
    folder.mkdir(parents=True)
    for name, content in originals()[1].items():
        (folder / name).write_bytes(content)
    return tmp_path


@pytest.mark.slow
def test_of_three_processes_one_prepares_and_one_decodes(root):
    processes = [loading(root, 1) for _ in range(3)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        go(process)
    said = [process.communicate(timeout=90) for process in processes]
    lines = [line for out, _ in said for line in out.splitlines()]
    assert (lines.count("prepares"), lines.count("decodes")) == (1, 1), said
    assert len(lines) == 5
    assert len(set(lines)) == 3, "three processes read the same"
    messages = "".join(err for _, err in said)
    waiting = re.findall(r"^waiting for process (\d+) on .*, which is preparing tfds:kmnist in", messages, re.M)
    assert waiting
    preparing = next(process.pid for process, (out, _) in zip(processes, said, strict=True) if "prepares" in out)
    assert set(map(int, waiting)) == {preparing}
    assert sorted(path.name for path in root.iterdir()) == ["downloads", "kmnist"]


@pytest.mark.slow
def test_another_takes_over_from_one_that_is_killed(root):
    first, second = loading(root, 60), loading(root, 0)
    try:
        assert first.stdout.readline() == second.stdout.readline() == "ready\n"
        go(first)
        assert first.stdout.readline() == "prepares\n"
        go(second)
        assert f"waiting for process {first.pid} on " in second.stderr.readline()
    finally:
        first.kill()
        first.communicate()
    out, _ = second.communicate(timeout=60)
    assert out.splitlines()[:2] == ["prepares", "decodes"]
    assert sorted(path.name for path in root.iterdir()) == ["downloads", "kmnist"]


def test_one_that_prepares_for_too_long_is_named(tmp_path, tiny_kmnist, monkeypatch):
    monkeypatch.setattr(prepare, "PREPARE_SECONDS", 0.2)
    (tmp_path / "data").mkdir()
    with (
        locked(tmp_path / "data" / ".jaxinv-kmnist.lock", seconds=1, what="testing"),
        pytest.raises(DataError, match=rf"data: process {os.getpid()} on .* has been preparing 'tfds:kmnist' there"),
    ):
        load_tfds("kmnist", data_dir=tmp_path / "data")


def test_a_folder_in_the_way_is_named(tmp_path, tiny_kmnist):
    (tmp_path / "kmnist" / "3.0.1").mkdir(parents=True)
    with pytest.raises(DataError, match=r"kmnist/3\.0\.1: is in the way, but holds no prepared dataset; remove it$"):
        load_tfds("kmnist", data_dir=tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not ORIGINAL_FILES.is_dir(), reason="the original files of MNIST are not beside the checkout")
def test_all_of_mnist_equals_the_bundled_arrays(tmp_path):
    data = load_tfds("mnist", data_dir=tmp_path, manual_dir=ORIGINAL_FILES)
    bundled = bundled_mnist()
    assert pairs(data.x_train, data.y_train) == pairs(bundled.x_train, bundled.y_train)
    assert pairs(data.x_test, data.y_test) == pairs(bundled.x_test, bundled.y_test)
    again = load_tfds("mnist", data_dir=tmp_path)
    assert again.fingerprint == data.fingerprint
    (row,) = (row for row in describe_datasets(tmp_path) if row.name == "tfds:mnist")
    assert (row.state, row.train, row.test) == ("cached", (60_000, 28, 28, 1), (10_000, 28, 28, 1))
