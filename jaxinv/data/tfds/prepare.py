"""Preparing datasets of tensorflow-datasets without TensorFlow: those in the format of MNIST's original files."""

import gzip
import hashlib
import io
import logging
import os
import shlex
import threading
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxinv.data.tfds.folders import Request, find_prepared, near_names, quiet
from jaxinv.errors import DataError, InputError, one_line
from jaxinv.utils.locks import holder_of, locked

PREPARABLE = ("mnist", "fashion_mnist", "kmnist")
FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
ANSWER_SECONDS = 4.0  # a server that takes longer to connect, or between two packets, counts as out of reach
FIRST_SECONDS = 8.0  # until the first byte, names looked up and redirections followed
PREPARE_SECONDS = 1800.0  # for another process that prepares the same dataset
_AS_STORED = {"Accept-Encoding": "identity"}
_log = logging.getLogger(__name__)


def prepare(request: Request, root: Path, manual_dir: str | os.PathLike[str] | None = None) -> Path:
    """Prepare a dataset under `root` as `array_record`, which tensorflow-datasets itself can read; return its folder.

    The original files come from `manual_dir` if it is given, else from `<root>/downloads/<name>`, where those that
    are missing are downloaded to. Of several processes one prepares it; the others wait and read what it has made.

    Raises:
        InputError: no such dataset, or one that could not be used even if it were prepared.
        DataError: it can only be prepared with TensorFlow, or its files cannot be had.
    """
    with quiet():
        stock = _stock_builder(request, root)
        if request.name not in PREPARABLE:
            _check_usable(request, stock)
            command = f"tfds build {str(request).removeprefix('tfds:')} --data_dir={shlex.quote(str(root))}"
            raise DataError(
                f"'{request}' is not prepared in {root}; run once, where TensorFlow is installed: "
                f"{command} --file_format=array_record"
            )
        if request.config or request.version not in (None, str(stock.VERSION)):
            raise InputError(f"dataset: '{request}' is not known; give tfds:{request.name}:{stock.VERSION}")
        folder = Path(os.path.expanduser(manual_dir)) if manual_dir is not None else root / "downloads" / request.name
        missing = _missing(request, folder)
        if missing and manual_dir is not None:
            raise DataError(f"{folder}: '{request}' needs {', '.join(missing)} there, from {stock.URL}")
        lock = root / f".jaxinv-{request.name}.lock"
        try:
            root.mkdir(parents=True, exist_ok=True)
            with locked(lock, seconds=PREPARE_SECONDS, what=f"preparing {request} in {root}") as mine:
                if (prepared := find_prepared(root, request)) is not None:
                    return prepared  # by the process that was waited for
                if not mine:
                    raise DataError(
                        f"{root}: {holder_of(lock)} has been preparing '{request}' there for {PREPARE_SECONDS:.0f} s; "
                        "wait for it, or end it"
                    )
                return _prepare(request, stock, root, folder)
        except OSError as error:
            raise DataError(f"{error.filename or root}: {error.strerror or error}") from error


def _prepare(request: Request, stock: Any, root: Path, folder: Path) -> Path:
    """Prepare the dataset from its original files in a folder, where those that are missing are downloaded to."""
    import tensorflow_datasets as tfds

    _download(request, stock, folder)
    _log.info("%s: preparing it in %s", request, root)
    config = tfds.download.DownloadConfig(manual_dir=str(folder), try_download_gcs=False)
    try:
        builder = tensorflow_free(stock)(data_dir=str(root))
        builder.download_and_prepare(file_format="array_record", download_config=config)
    except (OSError, EOFError, zlib.error) as error:
        if (prepared := find_prepared(root, request)) is not None:
            return prepared  # by another process, without a lock, that was faster
        raise DataError(f"{root}: '{request}' cannot be prepared there ({one_line(error)})") from error
    prepared = find_prepared(root, request)
    if prepared is None:
        raise DataError(f"{builder.data_dir}: is in the way, but holds no prepared dataset; remove it")
    return prepared


def downloads(name: str) -> dict[str, tuple[str, int, str]]:
    """Each original file of a dataset in `PREPARABLE` with its address, size in bytes and SHA-256."""
    import tensorflow_datasets as tfds

    with quiet():
        stock: Any = tfds.builder_cls(name)
        infos = stock.url_infos
        return {
            file: (stock.URL + file, infos[stock.URL + file].size, infos[stock.URL + file].checksum) for file in FILES
        }


def fetch(url: str, path: Path, size: int, sha256: str) -> None:
    """Download a file whole, or not at all, giving up on a server that is out of reach within ten seconds.

    Raises:
        DataError: out of reach, or not the file it should be.
        OSError: it cannot be written.
    """
    import requests

    response = _first_answer(url)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    digest, received = hashlib.sha256(), 0
    try:
        with response, unfinished.open("xb") as file:
            response.raise_for_status()
            for block in response.iter_content(1 << 16):
                received += len(block)
                digest.update(block)
                file.write(block)
                if received > size:
                    break
        if received != size or digest.hexdigest() != sha256:
            raise DataError(f"{url}: is not the published file (size or SHA-256 differs)")
        unfinished.replace(path)
    except requests.RequestException as error:
        raise DataError(f"{url}: {_reason(error)}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _stock_builder(request: Request, root: Path) -> Any:
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    if request.name not in known:
        raise InputError(
            f"dataset: '{request}' is neither known to tensorflow-datasets {tfds.__version__} nor prepared in {root}"
            + near_names(request.name, known)
        )
    try:
        return tfds.builder_cls(request.name)
    except ImportError as error:
        raise DataError(f"'{request}': tensorflow-datasets lacks what it needs for it ({error})") from error


def _check_usable(request: Request, stock: Any) -> None:
    """Refuse a dataset of the wrong kind before anybody spends hours on preparing it."""
    from jaxinv.data.tfds.records import image_features

    configs = list(stock.builder_configs)
    if request.config is not None and request.config not in configs:
        raise InputError(
            f"dataset: '{request}' has no such configuration"
            + near_names(f"{request.name}/{request.config}", [f"{request.name}/{config}" for config in configs])
        )
    try:
        info = stock(config=request.config, data_dir="/nonexistent").info
    except (ImportError, AssertionError, AttributeError, KeyError, OSError, ValueError):
        return  # its description needs TensorFlow too, so that nothing can be said before it is prepared
    image_features(str(request), info)


def tensorflow_free(stock: Any) -> Any:
    """A stock builder that reads its files with NumPy and hands over images already encoded, as if they were files."""

    class Builder(stock, skip_registration=True):  # pyright: ignore[reportGeneralTypeIssues, reportCallIssue]
        name = stock.name
        url_infos = stock.url_infos
        __module__ = stock.__module__  # what is prepared names the stock builder as its origin

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            paths = dl_manager.download({file: self.URL + file for file in FILES})
            train, test = [paths[file] for file in FILES[:2]], [paths[file] for file in FILES[2:]]
            return {"train": self._generate_examples(*train), "test": self._generate_examples(*test)}

        def _generate_examples(self, images: Any, labels: Any) -> Iterator[tuple[int, dict[str, Any]]]:
            x = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
            y = np.frombuffer(gzip.decompress(labels.read_bytes()), np.uint8, offset=8)
            for index, (image, label) in enumerate(zip(x, y, strict=True)):
                yield index, {"image": io.BytesIO(png(image)), "label": int(label)}

    return Builder


def png(image: np.ndarray) -> bytes:
    """A grey image, uint8 [H, W], as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _missing(request: Request, folder: Path) -> list[str]:
    """Which of the dataset's original files are not in the folder; those that are, are checked."""
    files = downloads(request.name)
    try:
        for file, (url, _, sha256) in files.items():
            path = folder / file
            if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                raise DataError(f"{path}: is not the published file (SHA-256 differs); replace it by {url}")
        return [file for file in files if not (folder / file).is_file()]
    except OSError as error:
        raise DataError(f"{error.filename or folder}: {error.strerror or error}") from error


def _download(request: Request, stock: Any, folder: Path) -> None:
    """Download those of the dataset's original files that are missing."""
    files, missing = downloads(request.name), _missing(request, folder)
    folder.mkdir(parents=True, exist_ok=True)
    while missing:
        url, size, sha256 = files[missing[0]]
        _log.info("%s: downloading %s (%.1f MiB)", request, url, size / 2**20)
        try:
            fetch(url, folder / missing[0], size, sha256)
        except DataError as error:
            raise DataError(
                f"'{request}' cannot be downloaded ({error}); place {', '.join(missing)} from {stock.URL} into {folder}"
            ) from error
        missing.pop(0)


def _first_answer(url: str) -> Any:
    """The response to a request, its body still to be read."""
    import requests

    outcome: list[Any] = []

    def ask() -> None:
        try:
            outcome.append(requests.get(url, stream=True, timeout=ANSWER_SECONDS, headers=_AS_STORED))
        except requests.RequestException as error:
            outcome.append(error)

    # In a thread, because no timeout covers the look-up of a name, which can hang for a minute.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(FIRST_SECONDS)
    if not outcome:
        raise DataError(f"{url}: no answer within {FIRST_SECONDS:g} s")
    if isinstance(outcome[0], Exception):
        raise DataError(f"{url}: {_reason(outcome[0])}") from outcome[0]
    return outcome[0]


def _reason(error: Exception) -> str:
    """Why a request failed, short: the libraries' own messages nest five exceptions' representations."""
    cause: BaseException = error
    while inner := (cause.__cause__ or cause.__context__ or getattr(cause, "reason", None)):
        if not isinstance(inner, BaseException):
            break
        cause = inner
    text = one_line(cause)
    return text if len(text) <= 160 else text[:159] + "…"
