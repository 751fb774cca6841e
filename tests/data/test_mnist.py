"""The bundled MNIST, against the published checksums and against the original files where they are at hand."""

import gzip
import hashlib
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from jaxinv.data import bundled, bundled_mnist, load_dataset
from jaxinv.errors import DataError

ORIGINAL_FILES = Path(__file__).parents[3] / "shared" / "data" / "mnist"


def idx_bytes(array: np.ndarray) -> bytes:
    """The IDX file of a uint8 array: magic number, lengths of the axes, bytes."""
    return struct.pack(f">{1 + array.ndim}i", 2048 + array.ndim, *array.shape) + array.tobytes()


def test_the_arrays_are_the_published_files():
    data = bundled_mnist()
    arrays = {
        "6bbc9ace898e44ae57da46a324031adb": data.x_train[..., 0],
        "a25bea736e30d166cdddb491f175f624": data.y_train.astype(np.uint8),
        "2646ac647ad5339dbf082846283269ea": data.x_test[..., 0],
        "27ae3e4e09519cfbb04c329615203637": data.y_test.astype(np.uint8),
    }
    assert {hashlib.md5(idx_bytes(array)).hexdigest() for array in arrays.values()} == set(arrays)
    assert data.y_train.dtype == data.y_test.dtype == np.int32
    assert np.bincount(data.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def test_the_tutorial_split_leaves_out_the_first_5000_rows():
    full, data = bundled_mnist(), load_dataset("mnist")
    assert data.name == "mnist"
    assert data.classes == 10
    assert data.x_train.shape == (55_000, 28, 28, 1)
    np.testing.assert_array_equal(data.x_train, full.x_train[5_000:])
    np.testing.assert_array_equal(data.y_train, full.y_train[5_000:])
    np.testing.assert_array_equal(data.x_test, full.x_test)
    np.testing.assert_array_equal(data.y_test, full.y_test)


def test_it_is_read_once_and_shared_without_copies():
    assert load_dataset("mnist") is load_dataset("mnist")
    assert np.shares_memory(load_dataset("mnist").x_train, bundled_mnist().x_train)
    with pytest.raises(ValueError, match="read-only"):
        load_dataset("mnist").x_train[0] = 0


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty"])
def test_a_damaged_file_is_refused(tmp_path, damage):
    content = bytearray(bundled.PACKED.read_bytes())
    if damage == "truncated":
        content = content[:-1]
    elif damage == "altered":
        content[len(content) // 2] ^= 1
    else:
        content.clear()
    path = tmp_path / "mnist.idx.zst"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"^.*mnist\.idx\.zst: the bundled MNIST is truncated or altered[^\n]*$"):
        bundled.read_packed(path, bundled.PACKED_SHA256)


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # where there is no copy of it
    monkeypatch.setattr(bundled, "PACKED", tmp_path / "gone.zst")
    for cached in (bundled.bundled_mnist, bundled.tutorial_mnist):
        cached.cache_clear()
    try:
        with pytest.raises(DataError, match=r"gone\.zst: the bundled MNIST cannot be read \(No such file"):
            load_dataset("mnist")
    finally:
        monkeypatch.undo()
    assert len(load_dataset("mnist").x_train) == 55_000


def test_the_attribution_states_the_checksums():
    text = (bundled.PACKED.parent / "ATTRIBUTION.md").read_text()
    for needed in ("LeCun", "Cortes", "Attribution-ShareAlike 3.0", bundled.PACKED_SHA256, *bundled.ORIGINALS.values()):
        assert needed in text


@pytest.mark.skipif(not ORIGINAL_FILES.is_dir(), reason="the original files are not beside the checkout")
class TestPacking:
    def test_unpacked_it_is_the_original_files_one_after_the_other(self):
        from numcodecs.zstd import decompress

        originals = [gzip.decompress((ORIGINAL_FILES / f"{name}.gz").read_bytes()) for name in bundled.ORIGINALS]
        assert decompress(bundled.PACKED.read_bytes()) == b"".join(originals)

    @pytest.mark.slow
    def test_pack_makes_a_file_that_reads_back(self, tmp_path):
        packed = bundled.pack(ORIGINAL_FILES, level=1)
        path = tmp_path / "again.zst"
        path.write_bytes(packed)
        arrays = bundled.read_packed(path, hashlib.sha256(packed).hexdigest())
        np.testing.assert_array_equal(arrays[0], bundled_mnist().x_train[..., 0])
        np.testing.assert_array_equal(arrays[3], bundled_mnist().y_test)

    def test_pack_refuses_other_files(self, tmp_path):
        for file in ORIGINAL_FILES.iterdir():
            shutil.copy(file, tmp_path)
        shutil.copy(tmp_path / "t10k-labels-idx1-ubyte.gz", tmp_path / "train-labels-idx1-ubyte.gz")
        with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz: is not the published file"):
            bundled.pack(tmp_path, level=1)
