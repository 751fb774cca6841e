"""`load_dataset`: from a name to a `Dataset`."""

import os

from jaxinv.data.bundled import tutorial_mnist
from jaxinv.data.dataset import Dataset
from jaxinv.data.npz import read_npz
from jaxinv.data.tfds import load_tfds
from jaxinv.errors import InputError, unknown
from jaxinv.registry import DATASETS


def load_dataset(
    dataset: str | os.PathLike[str] | Dataset, *, data_dir: str | os.PathLike[str] | None = None
) -> Dataset:
    """The dataset of that name: `mnist`, `tfds:<name>`, or the path of an `.npz` file.

    `mnist` is bundled and split as in the TensorFlow tutorial: rows 5,000 to 59,999 of the training file to train on,
    all 10,000 of the test file to test on. `data_dir` is where tensorflow-datasets keeps its data. A `Dataset` is
    returned as it is.

    Raises:
        InputError: no such dataset, or one that makes no `Dataset`.
        DataError: its files are damaged, or cannot be had.

    >>> load_dataset("mnist")
    Dataset('mnist': 55,000 + 10,000 images of 28×28×1, 10 classes)
    """
    if isinstance(dataset, Dataset):
        return dataset
    if not isinstance(dataset, (str, os.PathLike)):
        raise InputError(
            f"dataset: {type(dataset).__name__} is not allowed; give one of {', '.join(DATASETS)}, or a ji.Dataset"
        )
    if dataset == "mnist":
        return tutorial_mnist()
    if isinstance(dataset, str) and dataset.startswith("tfds:"):
        return load_tfds(dataset.removeprefix("tfds:"), data_dir=data_dir)
    path = os.fspath(dataset)
    if not isinstance(path, str) or "\0" in path:
        raise InputError(f"dataset: {path!r} is not allowed; give a path")
    if path.lower().endswith(".npz"):
        return read_npz(path)
    if not isinstance(dataset, str) or os.path.isfile(os.path.expanduser(path)):
        raise InputError(f"dataset: {path!r} is not allowed; give one of {', '.join(DATASETS)}")
    raise unknown("dataset", dataset, DATASETS)
