"""Datasets: the bundled MNIST, tensorflow-datasets, `.npz` files, arrays; and their relighting."""

from jaxinv.data.bundled import bundled_mnist
from jaxinv.data.dataset import Dataset
from jaxinv.data.loading import load_dataset

__all__ = ["Dataset", "bundled_mnist", "load_dataset"]
