"""Image datasets of tensorflow-datasets, read and prepared without TensorFlow."""

from jaxinv.data.tfds.load import load_tfds

__all__ = ["load_tfds"]
