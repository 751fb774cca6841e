"""Datasets: the bundled MNIST, tensorflow-datasets, `.npz` files, arrays; and their relighting."""

from jaxinv.data.bundled import bundled_mnist
from jaxinv.data.dataset import Dataset, is_shared
from jaxinv.data.describe import DatasetRow, describe_datasets
from jaxinv.data.lighting import relight
from jaxinv.data.loading import load_dataset
from jaxinv.data.npz import read_npz
from jaxinv.data.tfds import load_tfds

__all__ = [
    "Dataset",
    "DatasetRow",
    "bundled_mnist",
    "describe_datasets",
    "is_shared",
    "load_dataset",
    "load_tfds",
    "read_npz",
    "relight",
]
