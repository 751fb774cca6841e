"""The MNIST that comes with the package: the four original files in one, compressed with Zstandard."""

import functools
import gzip
import hashlib
from pathlib import Path

import numpy as np

from jaxinv.data.dataset import Dataset
from jaxinv.data.user_cache import kept
from jaxinv.errors import DataError

PACKED = Path(__file__).parent / "mnist" / "mnist.idx.zst"
PACKED_SHA256 = "edb729f4cf48f1d1c0ce41d4abff36f8053b0df1f489d7791710a0c6eca61639"
VALIDATION_ROWS = 5_000  # the first rows of the training file, which the TensorFlow tutorial sets apart

# The original files in the order in which they are packed, with the MD5 of each as it was published, uncompressed.
ORIGINALS = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_HEADERS = ((2051, 60_000, 28, 28), (2049, 60_000), (2051, 10_000, 28, 28), (2049, 10_000))


@functools.cache
def bundled_mnist() -> Dataset:
    """All 60,000 + 10,000 images of MNIST, in the order of the original files; read once per process,
    decoded once per user and machine.

    Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".

    Raises:
        DataError: the bundled file is missing, truncated or altered.

    >>> bundled_mnist()
    Dataset('mnist_full': 60,000 + 10,000 images of 28×28×1, 10 classes)
    """

    def decode() -> Dataset:
        x_train, y_train, x_test, y_test = read_packed(PACKED, PACKED_SHA256)
        return Dataset(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, name="mnist_full")

    return kept(f"mnist {PACKED_SHA256}", decode)


@functools.cache
def tutorial_mnist() -> Dataset:
    """MNIST as the TensorFlow tutorial splits it: training rows 5,000 to 59,999, and all 10,000 test rows."""
    full = bundled_mnist()
    return Dataset(
        x_train=full.x_train[VALIDATION_ROWS:],
        y_train=full.y_train[VALIDATION_ROWS:],
        x_test=full.x_test,
        y_test=full.y_test,
        name="mnist",
    )


def read_packed(path: Path, sha256: str) -> list[np.ndarray]:
    """Training images, training labels, test images and test labels of a packed file whose checksum is known."""
    from numcodecs.zstd import decompress  # 0.1 s that is not needed for any other dataset

    try:
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: the bundled MNIST cannot be read ({error.strerror}); reinstall the package"
        ) from error
    if hashlib.sha256(packed).hexdigest() != sha256:
        raise DataError(f"{path}: the bundled MNIST is truncated or altered (SHA-256 differs); reinstall the package")
    content = decompress(packed)
    arrays, offset = [], 0
    for _magic, *shape in _HEADERS:
        offset += 4 * (1 + len(shape))
        size = int(np.prod(shape))
        arrays.append(np.frombuffer(content, np.uint8, size, offset).reshape(shape))
        offset += size
    return arrays


def pack(folder: Path, level: int = 22) -> bytes:
    """The content of the bundled file, made from a folder with the four original files as published (`.gz`)."""
    from numcodecs.zstd import compress

    content = bytearray()
    for (name, md5), header in zip(ORIGINALS.items(), _HEADERS, strict=True):
        original = gzip.decompress((folder / f"{name}.gz").read_bytes())
        if hashlib.md5(original).hexdigest() != md5:
            raise DataError(f"{folder / name}.gz: is not the published file (MD5 differs)")
        if tuple(np.frombuffer(original, ">i4", len(header))) != header:
            raise DataError(f"{folder / name}.gz: does not begin with the IDX header {header}")
        content += original
    return compress(bytes(content), level)
