"""`tfds:<name>`: image datasets of tensorflow-datasets, read without TensorFlow.

Once decoded, the arrays are kept in an uncompressed `.npz` file in the folder of the prepared dataset, so that the
next read takes a tenth of a second and does not import tensorflow-datasets.
"""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxinv.data.dataset import Dataset
from jaxinv.data.npz import ARRAYS, read_arrays, write_arrays
from jaxinv.data.tfds.folders import DESCRIPTIONS, Request, data_root, find_prepared, parse, quiet
from jaxinv.errors import DataError, InputError
from jaxinv.utils.memory import available_bytes

CACHE = "jaxinv.npz"
_CACHE_FORMAT = 1
_log = logging.getLogger(__name__)


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
        from jaxinv.data.tfds.prepare import prepare

        folder = prepare(request, root, manual_dir)
    return read_prepared(folder, request)


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


def _decode(folder: Path, request: Request) -> tuple[Dataset, str]:
    from jaxinv.data.tfds.records import image_features, prepared_info, read_split, test_split_of

    with quiet():
        info = prepared_info(folder)
        where = image_features(str(request), info)
        test_split = test_split_of(str(request), info)
        x_train, y_train = read_split(info, "train", where)
        x_test, y_test = read_split(info, test_split, where)
    for array in (x_train, y_train, x_test, y_test):
        array.flags.writeable = False  # so that the dataset need not copy them
    name = _dataset_name(request, test_split)
    return (
        _dataset((x_train, y_train, x_test, y_test), name, where.classes),
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
    dataset = _dataset(arrays, name, classes)
    if dataset.fingerprint != fingerprint:
        raise DataError(f"{cache}: damaged (its checksum differs)")
    return dataset


def _dataset(arrays: Sequence[np.ndarray], name: str, classes: int) -> Dataset:
    return Dataset(**dict(zip(ARRAYS, arrays, strict=True)), name=name, classes=classes, channels="last")


def _dataset_name(request: Request, test_split: str) -> str:
    return str(request) + ("" if test_split == "test" else f" ({test_split} as test)")


def _checksum(folder: Path) -> str:
    """Of the descriptions of a prepared dataset: other data under the same name and version has other ones."""
    digest = hashlib.sha256()
    for name in DESCRIPTIONS:
        try:
            digest.update((folder / name).read_bytes())
        except OSError as error:
            raise DataError(f"{folder / name}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()
