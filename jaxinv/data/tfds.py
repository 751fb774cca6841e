"""`tfds:<name>`: image datasets of tensorflow-datasets, read without TensorFlow.

Once decoded, the arrays are kept in an uncompressed `.npz` file in the folder of the prepared dataset, so that the
next read takes a tenth of a second and does not import tensorflow-datasets.
"""

import contextlib
import difflib
import hashlib
import io
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxinv.data.dataset import Dataset
from jaxinv.data.npz import ARRAYS, available_bytes, read_arrays, write_arrays
from jaxinv.errors import DataError, InputError

CACHE = "jaxinv.npz"
_CACHE_FORMAT = 1
_DESCRIPTIONS = ("dataset_info.json", "features.json")  # what makes a folder a prepared dataset
_REQUEST = re.compile(r"([a-z]\w*)(?:/(\w[\w.\-]*))?(?::(\d+\.\d+\.\d+))?", re.ASCII)
_VERSION = re.compile(r"\d+\.\d+\.\d+", re.ASCII)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """`name[/config][:version]`, the way tensorflow-datasets writes it."""

    name: str
    config: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        config = f"/{self.config}" if self.config else ""
        return f"tfds:{self.name}{config}" + (f":{self.version}" if self.version else "")


def load_tfds(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, manual_dir: str | os.PathLike[str] | None = None
) -> Dataset:
    """A dataset of fixed-size uint8 images with one label each, from tensorflow-datasets.

    It is read from where it has been prepared (as `array_record` or `tfrecord`); `mnist`, `fashion_mnist` and `kmnist`
    are downloaded and prepared if they are not. Train is the split `train`; test is the split `test` or, for a
    dataset that has none, `validation`, and the dataset's name then says so.

    Args:
        name: `name`, `name/config`, each with or without `:version`; the newest prepared version by default.
        data_dir: where datasets are prepared; by default `TFDS_DATA_DIR`, else `~/tensorflow_datasets`.
        manual_dir: the folder with the dataset's original files, to prepare it with no network.

    Raises:
        InputError: no such dataset, or images of differing size, several labels, other dtypes, missing splits.
        DataError: it is not prepared, cannot be downloaded, or its files are damaged.
    """
    request = parse(name)
    root = data_root(data_dir)
    folder = find_prepared(root, request)
    if folder is None:
        from jaxinv.data.tfds_prepare import prepare

        folder = prepare(request, root, manual_dir)
    return read_prepared(folder, request)


def parse(name: str) -> Request:
    """The request that a name stands for.

    >>> parse("emnist/letters:3.1.0")
    Request(name='emnist', config='letters', version='3.1.0')
    """
    match = _REQUEST.fullmatch(name)
    if match is None:
        raise InputError(f"dataset: {'tfds:' + name!r} is not a name; allowed: tfds:name, tfds:name/config, …:1.0.0")
    return Request(*match.groups())


def data_root(data_dir: str | os.PathLike[str] | None) -> Path:
    """The folder of all prepared datasets: as given, else `TFDS_DATA_DIR`, else `~/tensorflow_datasets`."""
    given = data_dir if data_dir is not None else os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    text = os.fspath(given)
    if not isinstance(text, str) or not text or "\0" in text or "://" in text:
        raise InputError(f"data_dir: {text!r} is not a local folder")
    root = Path(os.path.expanduser(text))
    if root.exists() and not root.is_dir():
        raise InputError(f"data_dir: {text!r} is not a folder")
    return root


def find_prepared(root: Path, request: Request) -> Path | None:
    """The folder of the prepared dataset, or None.

    Raises:
        InputError: the request names no configuration, and others than the default one are prepared.
    """
    base = root / request.name
    if request.config is not None:
        return _newest(base / request.config, request.version)
    if found := _newest(base, request.version):
        return found
    prepared = {path.name: path for path in _folders(base) if _newest(path, request.version)}
    default = _default_config(base)
    if default in prepared:
        return _newest(prepared[default], request.version)
    if prepared:
        choices = ", ".join(f"tfds:{request.name}/{config}" for config in sorted(prepared))
        raise InputError(f"dataset: '{request}' has several configurations; prepared in {root}: {choices}")
    return None


def prepared_folders(root: Path) -> list[tuple[Request, Path]]:
    """Every prepared dataset and configuration under a root, in its newest version."""
    found = []
    for base in _folders(root):
        for config, folder in ((None, base), *((path.name, path) for path in _folders(base))):
            newest = _newest(folder, None)
            if newest is not None and _REQUEST.fullmatch(f"{base.name}/{config}" if config else base.name):
                found.append((Request(base.name, config), newest))
    return found


def read_prepared(folder: Path, request: Request) -> Dataset:
    """The dataset prepared in that folder: from the decoded copy there, which is made if it is missing or damaged."""
    cache = folder / CACHE
    source = _checksum(folder)
    if cache.exists():
        try:
            if (cached := _read_cache(cache, source, request)) is not None:
                return cached
        except (DataError, InputError) as damage:
            if not any(folder.glob("*record*")):
                raise DataError(f"{damage}; nor is there prepared data in {folder} to rebuild it from") from damage
            _log.warning("%s; it is rebuilt from the prepared data", damage)
    dataset, test_split = _decode(folder, request)
    meta = {"format": _CACHE_FORMAT, "source": source, "fingerprint": dataset.fingerprint}
    meta |= {"classes": dataset.classes, "test_split": test_split}
    arrays = {key: getattr(dataset, key) for key in ARRAYS}
    try:
        write_arrays(cache, {**arrays, "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8)})
    except OSError as error:
        _log.warning("%s: cannot be written (%s), so that %s is decoded at each use", cache, error.strerror, request)
    return dataset


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what tensorflow-datasets prints, and its progress bars, off standard output."""
    from tensorflow_datasets.core.utils import tqdm_utils

    active = tqdm_utils._active
    tqdm_utils.display_progress_bar(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tqdm_utils.display_progress_bar(active)


def near_names(name: str, known: list[str]) -> str:
    """«; did you mean …?», or nothing when no known name is near."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"; did you mean {', '.join(f'tfds:{other}' for other in near)}?" if near else ""


def _decode(folder: Path, request: Request) -> tuple[Dataset, str]:
    from jaxinv.data.tfds_records import layout, prepared_info, read_split, test_split_of

    with quiet():
        info = prepared_info(folder)
        where = layout(str(request), info)
        test_split = test_split_of(str(request), info)
        x_train, y_train = read_split(info, "train", where)
        x_test, y_test = read_split(info, test_split, where)
    for array in (x_train, y_train, x_test, y_test):
        array.flags.writeable = False  # so that the dataset need not copy them
    name = _dataset_name(request, test_split)
    return (
        Dataset(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, name=name, classes=where.classes),
        test_split,
    )


def _read_cache(cache: Path, source: str, request: Request) -> Dataset | None:
    """The dataset in the file; None if it was made from other prepared data."""
    *arrays, meta = read_arrays(cache, (*ARRAYS, "meta"), limit=available_bytes())
    try:
        facts = json.loads(meta.tobytes())
        if facts["format"] != _CACHE_FORMAT or facts["source"] != source:
            return None
        name = _dataset_name(request, facts["test_split"])
        classes, fingerprint = facts["classes"], facts["fingerprint"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{cache}: damaged (its description cannot be read)") from error
    x_train, y_train, x_test, y_test = arrays
    dataset = Dataset(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, name=name, classes=classes)
    if dataset.fingerprint != fingerprint:
        raise DataError(f"{cache}: damaged (its checksum differs)")
    return dataset


def _dataset_name(request: Request, test_split: str) -> str:
    return str(request) + ("" if test_split == "test" else f" ({test_split} as test)")


def _checksum(folder: Path) -> str:
    """Of the descriptions of a prepared dataset: other data under the same name and version has other ones."""
    digest = hashlib.sha256()
    for name in _DESCRIPTIONS:
        try:
            digest.update((folder / name).read_bytes())
        except OSError as error:
            raise DataError(f"{folder / name}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def _newest(folder: Path, version: str | None) -> Path | None:
    """The prepared dataset of the highest version, or of the given one, in a folder of versions."""
    prepared = [path for path in _folders(folder) if _VERSION.fullmatch(path.name) and _is_prepared(path)]
    wanted = [path for path in prepared if version in (None, path.name)]
    return max(wanted, key=lambda path: tuple(map(int, path.name.split("."))), default=None)


def _is_prepared(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _DESCRIPTIONS)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error


def _default_config(base: Path) -> str | None:
    try:
        return json.loads((base / ".config" / "metadata.json").read_text())["default_config_name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
