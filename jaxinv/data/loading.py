"""`load_dataset`: from a name to a `Dataset`."""

import os
from typing import Literal

from jaxinv.data.bundled import tutorial_mnist
from jaxinv.data.dataset import Dataset
from jaxinv.data.npz import read_npz
from jaxinv.data.tfds import load_tfds
from jaxinv.errors import InputError, unknown
from jaxinv.registry import DATASETS

_OPEN = {"classes": 0, "value_range": None, "channels": None, "renumber": None}


def load_dataset(
    dataset: str | os.PathLike[str] | Dataset,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    classes: int = 0,
    value_range: tuple[int, int] | None = None,
    channels: Literal["first", "last"] | None = None,
    renumber: bool | None = None,
) -> Dataset:
    """The dataset of that name: `mnist`, `tfds:<name>`, or the path of an `.npz` file.

    `mnist` is bundled and split as in the TensorFlow tutorial: rows 5,000 to 59,999 of the training file to train on,
    all 10,000 of the test file to test on. A `Dataset` is returned as it is.

    Args:
        dataset: the name, path or `Dataset`.
        data_dir: where tensorflow-datasets keeps its data.
        classes, value_range, channels, renumber: what the arrays of an `.npz` file mean; see `Dataset`.

    Raises:
        InputError: no such dataset, or one that makes no `Dataset`.
        DataError: its files are damaged, or cannot be had.

    >>> load_dataset("mnist")
    Dataset('mnist': 55,000 + 10,000 images of 28×28×1, 10 classes)
    """
    meaning = {"classes": classes, "value_range": value_range, "channels": channels, "renumber": renumber}
    if isinstance(dataset, (str, os.PathLike)) and str(os.fspath(dataset)).lower().endswith(".npz"):
        return read_npz(_path(dataset), **meaning)
    for name, value in meaning.items():
        if value != _OPEN[name]:
            raise InputError(
                f"{name}: {value!r} is not allowed with the dataset {dataset!r}; it goes with an .npz file"
            )
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
    path = _path(dataset)
    if not isinstance(dataset, str) or os.path.isfile(os.path.expanduser(path)):
        raise InputError(f"dataset: {path!r} is not allowed; give one of {', '.join(DATASETS)}")
    raise unknown("dataset", dataset, DATASETS)


def _path(dataset: str | os.PathLike[str]) -> str:
    path = os.fspath(dataset)
    if not isinstance(path, str) or "\0" in path:
        raise InputError(f"dataset: {path!r} is not allowed; give a path")
    return path
