"""`tfds:<name>`: image datasets of tensorflow-datasets, read without TensorFlow.

Once decoded, the arrays are kept beside the prepared data, so that the next read takes a few hundredths of a second,
does not import tensorflow-datasets, and shares its memory with other processes.
"""

import hashlib
import os
from pathlib import Path

from jaxinv.data.dataset import ARRAYS, Dataset
from jaxinv.data.decoded import Entry, decoded_once
from jaxinv.data.tfds.folders import DESCRIPTIONS, Request, data_root, find_prepared, parse, quiet
from jaxinv.data.user_cache import kept
from jaxinv.errors import DataError

COPY = "jaxinv"  # the folder of the decoded copy


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
    """The dataset prepared in that folder: from the decoded copy, which is made if it is missing or damaged.

    The copy is in the folder itself, for all users, or, where that cannot be written to, in the user's own cache.
    """
    checksum = _checksum(folder)

    def decode() -> Dataset:
        return _decode(folder, request)

    def is_current() -> bool:
        return _checksum(folder) == checksum

    def rename(name: str) -> str:  # another request can have found the same folder
        return str(request) + "".join(name.partition(" ")[1:])

    if (folder / COPY).exists() or os.access(folder, os.W_OK | os.X_OK):
        return decoded_once(Entry(folder / COPY, checksum, rename), decode, is_current)
    return kept(f"{os.path.realpath(folder)} {checksum}", decode, is_current, rename)


def _decode(folder: Path, request: Request) -> Dataset:
    from jaxinv.data.tfds.records import image_features, prepared_info, read_split, test_split_of

    with quiet():
        info = prepared_info(folder)
        where = image_features(str(request), info)
        test_split = test_split_of(str(request), info)
        arrays = (*read_split(info, "train", where), *read_split(info, test_split, where))
    for array in arrays:
        array.flags.writeable = False  # so that the dataset need not copy them
    name = str(request) + ("" if test_split == "test" else f" ({test_split} as test)")
    return Dataset(**dict(zip(ARRAYS, arrays, strict=True)), name=name, classes=where.classes, channels="last")


def _checksum(folder: Path) -> str:
    """Of the descriptions of a prepared dataset: other data under the same name and version has other ones."""
    digest = hashlib.sha256()
    for name in DESCRIPTIONS:
        try:
            digest.update((folder / name).read_bytes())
        except OSError as error:
            raise DataError(f"{folder / name}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()
