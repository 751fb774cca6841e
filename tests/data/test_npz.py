"""`.npz` files: what is read, and that hostile or damaged files are refused before they cost anything."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxinv import cli
from jaxinv.data import load_dataset, read_npz
from jaxinv.errors import DataError, InputError

CIFAR = Path(__file__).parents[3] / "shared" / "data" / "cifar10-subset.npz"
RNG = np.random.default_rng(30)
ARRAYS = {
    "x_train": RNG.integers(0, 256, (7, 3, 4, 2), dtype=np.uint8),
    "y_train": np.array([0, 1, 2, 0, 1, 2, 0]),
    "x_test": RNG.integers(0, 256, (2, 3, 4, 2), dtype=np.uint8),
    "y_test": np.array([2, 1], np.uint8),
}


def npy(array: np.ndarray, **header) -> bytes:
    """An .npy file, its header changed at will."""
    stream = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(stream, fields | header)
    return stream.getvalue() + array.tobytes()


def write(path: Path, method: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in ({key: npy(array) for key, array in ARRAYS.items()} | members).items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_what_numpy_wrote(tmp_path, save):
    path = tmp_path / "mine.npz"
    save(path, **ARRAYS, notes=np.array(["left", "alone"]))
    data = load_dataset(str(path))
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(getattr(data, key), array)
    assert (data.name, data.classes) == ("mine.npz", 3)


def test_fortran_order_and_npy_version_2(tmp_path):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asfortranarray(ARRAYS["x_train"]), version=(2, 0))
    data = read_npz(write(tmp_path / "f.npz", x_train=stream.getvalue()))
    np.testing.assert_array_equal(data.x_train, ARRAYS["x_train"])


def test_paths_of_every_kind(tmp_path, monkeypatch):
    write(tmp_path / "a.npz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (
        load_dataset("a.npz").fingerprint
        == load_dataset("~/a.npz").fingerprint
        == load_dataset(tmp_path / "a.npz").fingerprint
    )


class Bomb:
    """Its unpickling would leave a file behind."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_pickles_are_never_loaded(tmp_path):
    target = tmp_path / "unpickled"
    objects = np.empty(7, object)
    objects[:] = [Bomb(target)] * 7
    content = npy(np.zeros(0), descr="|O", shape=(7,)) + pickle.dumps(objects)
    with pytest.raises(InputError, match="y_train holds pickled objects, which are never loaded"):
        read_npz(write(tmp_path / "evil.npz", y_train=content))
    np.savez(tmp_path / "evil2.npz", **(ARRAYS | {"y_train": objects}))  # pyright: ignore
    with pytest.raises(InputError, match="y_train holds pickled objects"):
        read_npz(tmp_path / "evil2.npz")
    assert not target.exists()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    size = 2**26
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|u1", "fortran_order": False, "shape": (size // 784, 28, 28)}
    )
    path = tmp_path / "bomb.npz"
    write(path, zipfile.ZIP_DEFLATED, x_train=stream.getvalue() + bytes(size // 784 * 784))
    assert path.stat().st_size < size / 500
    with pytest.raises(InputError, match=r"arrays of 67,\d{3},\d{3} bytes are not allowed; give at most 1,000,000"):
        read_npz(path, limit=1_000_000)


def test_a_header_that_is_a_bomb_is_not_unpacked_either(tmp_path):
    size = 2**26
    header = b"\x93NUMPY\x02\x00" + struct.pack("<I", size) + b" " * size
    path = write(tmp_path / "bomb.npz", zipfile.ZIP_DEFLATED, x_train=header)
    del header
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"not a readable \.npz file"):
            read_npz(path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_the_limit_is_the_memory_that_is_available(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxinv.data.npz.available_bytes", lambda: 100)
    with pytest.raises(InputError, match="give at most 100"):
        read_npz(write(tmp_path / "a.npz"))


@pytest.mark.parametrize(
    ("x_train", "message"),
    [
        (
            npy(ARRAYS["x_train"], shape=(10**9, 28, 28, 1)),
            "x_train says it is 784,000,000,000 bytes, but 168 are there",
        ),
        (npy(ARRAYS["x_train"], shape=(7, 3, 4)), "x_train says it is 84 bytes, but 168 are there"),
        (npy(ARRAYS["x_train"], descr="<f8"), "x_train says it is 1,344 bytes, but 168 are there"),
        (npy(ARRAYS["x_train"], shape=(-7, -3, 4, 2)), "x_train has the impossible shape"),
        (npy(ARRAYS["x_train"], shape=(7.0, 3, 4, 2)), "not a readable .npz file"),
        (npy(ARRAYS["x_train"])[:-1], "x_train says it is 168 bytes, but 167 are there"),
        (b"", "not a readable .npz file"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 20_000, "not a readable .npz file"),
        (pickle.dumps(ARRAYS["x_train"]), "not a readable .npz file"),
    ],
)
def test_headers_that_lie_or_make_no_sense(tmp_path, x_train, message):
    with pytest.raises(DataError, match=message) as caught:
        read_npz(write(tmp_path / "bad.npz", x_train=x_train))
    assert str(caught.value).startswith(str(tmp_path / "bad.npz"))
    assert "\n" not in str(caught.value)


def test_npy_versions_for_names_of_fields_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"x_train is in .npy format \(3, 0\), which is not allowed; give 1.0 or 2.0"):
        read_npz(write(tmp_path / "bad.npz", x_train=b"\x93NUMPY\x03\x00" + bytes(100)))


def test_missing_arrays_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=ARRAYS["x_train"], images=ARRAYS["x_test"])
    with pytest.raises(
        InputError,
        match=r"no array y_train, x_test, y_test among images, x_train; give x_train, y_",
    ):
        read_npz(tmp_path / "a.npz")


def test_arrays_that_make_no_dataset_are_refused_with_the_files_name(tmp_path):
    np.savez(tmp_path / "a.npz", **(ARRAYS | {"y_test": np.array([0.5, 1])}))  # pyright: ignore
    with pytest.raises(InputError, match=r"a\.npz: y_test: dtype float64 is not allowed"):
        read_npz(tmp_path / "a.npz")


def test_files_that_are_no_files(tmp_path):
    with pytest.raises(InputError, match=r"^dataset: there is no file '.*none\.npz'; give the path of an \.npz$"):
        load_dataset(str(tmp_path / "none.npz"))
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(InputError, match=r"folder\.npz' is not a file; give the path of an \.npz$"):
        load_dataset(str(tmp_path / "folder.npz"))
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(InputError, match=r"pipe\.npz' is not a file; give the path of an \.npz$"):
        load_dataset(str(tmp_path / "pipe.npz"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 1000, npy(ARRAYS["x_train"])])
def test_files_that_are_no_zip(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz: not a readable \.npz file \(File is not a zip file\)"):
        read_npz(tmp_path / "a.npz")


def fingerprint_or_refusal(path: Path) -> str:
    try:
        return read_npz(path).fingerprint
    except (DataError, InputError) as error:
        return str(error)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_bit_anywhere_never_gives_other_images(tmp_path, method):
    path = write(tmp_path / "a.npz", method)
    whole, expected = path.read_bytes(), read_npz(path).fingerprint
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        outcome = fingerprint_or_refusal(path)
        # the same images where the byte says nothing about them (a date), else one line
        assert outcome == expected or ("\n" not in outcome and str(path) in outcome)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_that_numpy_does_not_use_are_refused(tmp_path, method):
    with pytest.raises(InputError, match="x_train is encrypted or packed in a way that NumPy does not use"):
        read_npz(write(tmp_path / "a.npz", method))


def test_an_encrypted_archive_is_refused(tmp_path):
    path = write(tmp_path / "a.npz")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag of the first entry of the central directory
    path.write_bytes(content)
    with pytest.raises(InputError, match="x_train is encrypted"):
        read_npz(path)


@pytest.mark.skipif(not CIFAR.is_file(), reason="the subset of CIFAR-10 is not beside the checkout")
def test_real_colour_images():
    data = load_dataset(CIFAR)
    assert repr(data) == "Dataset('cifar10-subset.npz': 5,085 + 1,017 images of 32×32×3, 10 classes)"
    with np.load(CIFAR) as file:
        np.testing.assert_array_equal(data.x_test, file["x_test"])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_flipped_bit_of_a_header_is_one_line(tmp_path, method):
    """Of the 128 bytes at the beginning of a member, its magic string and its header."""
    path = write(tmp_path / "flipped.npz", method)
    whole, begin = path.read_bytes(), 30 + len("x_train.npy")
    assert (whole[begin:].startswith(b"\x93NUMPY")) == (method == zipfile.ZIP_STORED)
    refused = []
    for bit in range(1024):
        data = bytearray(whole)
        data[begin + bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            found = read_npz(path)
        except DataError as error:
            refused.append(str(error))
        else:  # not every bit of what is packed means something
            np.testing.assert_array_equal(found.x_train, ARRAYS["x_train"])
    assert len(refused) == 1024 if method == zipfile.ZIP_STORED else len(refused) > 900
    assert all(text.startswith(f"{path}: ") and "\n" not in text for text in refused)


HEADERS = {
    "a token without end": "{'descr': '|u1', 'shape': (1, '''",
    "a wrong indent": "  {'a': 1}\n {",
    "keys of two kinds": "{'descr': '|u1', 1: False, 'shape': (1,)}",
    "unhashable": "{[]: 1}",
    "brackets without end": "(" * 9_000,
    "minus without end": "-" * 9_000 + "1",
    "nested": "[" * 150 + "]" * 150,
    "an empty type": "{'descr': [], 'fortran_order': False, 'shape': (1,)}",
    "a type of nothing": "{'descr': ((),), 'fortran_order': False, 'shape': (1,)}",
    "a type of short tuples": "{'descr': [('a',)], 'fortran_order': False, 'shape': (1,)}",
    "a type that is a number": "{'descr': 7, 'fortran_order': False, 'shape': (1,)}",
    "a huge type": "{'descr': '|V99999999999999999999', 'fortran_order': False, 'shape': (1,)}",
    "a huge number": "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 5_000 + ",)}",
    "a comma decoded as nothing": "{'descr': ',', 'fortran_order': False, 'shape': (1,)}",
    "a byte string": "{'descr': b'|u1', 'fortran_order': False, 'shape': (1,)}",
    "a shape of truths": "{'descr': '|u1', 'fortran_order': False, 'shape': (True, None)}",
    "a bad escape": "{'descr': '\\d\\N{no}', 'fortran_order': False, 'shape': (1,)}",
    "Python 2": "{'descr': '|u1', 'fortran_order': False, 'shape': (9L,)}",
    "no text": "\x00\xff",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("version", [1, 2])
def test_a_crafted_header_with_the_right_checksum_is_one_line(tmp_path, header, version):
    text = header.encode("latin1")
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    path = write(tmp_path / "crafted.npz", x_train=b"\x93NUMPY" + bytes([version, 0]) + length + text + b"\0")
    with pytest.raises((DataError, InputError)) as found:
        read_npz(path)
    assert str(found.value).startswith(f"{path}: ")
    assert "\n" not in str(found.value)


def test_an_array_that_the_memory_does_not_hold_is_one_line(tmp_path, monkeypatch):
    def no_memory(*args, **options):
        raise MemoryError

    monkeypatch.setattr(np.lib.format, "read_array", no_memory)
    with pytest.raises(DataError, match="the memory does not suffice"):
        read_npz(write(tmp_path / "a.npz"))


def test_names_of_members_do_not_move_the_cursor(tmp_path, capsys):
    np.savez(tmp_path / "red.npz", **{"\x1b[31mred\x1b[0m": np.zeros(3)})  # pyright: ignore
    assert cli.main(["run", "--dataset", str(tmp_path / "red.npz"), "--quiet", "--no-cache"]) == cli.SENSELESS
    said = capsys.readouterr().err
    assert "among \\x1b[31mred\\x1b[0m;" in said
    assert said.strip().isprintable()
