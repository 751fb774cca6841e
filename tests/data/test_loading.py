"""From a name to a dataset, and what importing costs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxinv.data import Dataset, load_dataset
from jaxinv.errors import InputError

ROOT = Path(__file__).parents[2]


def test_a_dataset_is_returned_as_it_is():
    images, labels = np.zeros((2, 3, 3), np.uint8), np.arange(2)
    data = Dataset(x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert load_dataset(data) is data


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mnits",
            r"^dataset: 'mnits' is not known; did you mean 'mnist'\? Give one of mnist, tfds:<name>, <file>.npz$",
        ),
        ("MNIST", "^dataset: 'MNIST' is not known"),
        ("", "^dataset: '' is not known"),
        ("mnist ", "did you mean 'mnist'"),
        ("x" * 5000, "is not known"),
        ("two\nlines", r"^dataset: 'two\\nlines' is not known"),
        (
            "~nobody_of_this_name/a.npz",
            "^dataset: there is no file '~nobody_of_this_name/a.npz'; give the path of an .npz$",
        ),
        ("a\0.npz", r"^dataset: 'a\\x00.npz' is not allowed; give a path$"),
        (b"mnist", "^dataset: bytes is not allowed; give one of"),
        (3, "^dataset: int is not allowed; give one of mnist, tfds:<name>, <file>.npz, or a ji.Dataset$"),
        (None, "^dataset: NoneType is not allowed"),
        ((np.zeros(3), np.zeros(3)), "^dataset: tuple is not allowed"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(name)
    assert "\n" not in str(caught.value)


def test_files_of_other_kinds_are_told_from_unknown_names(tmp_path):
    path = tmp_path / "images.npy"
    path.write_bytes(b"")
    for given in (str(path), path, tmp_path / "gone.npy"):
        with pytest.raises(InputError, match=r"\.npy' is not allowed; give one of mnist, tfds:<name>, <file>\.npz$"):
            load_dataset(given)


def test_importing_is_light():
    """Neither JAX nor TensorFlow, nor what only some datasets need, and nothing on standard output."""
    code = "import sys, jaxinv.data; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert not loaded & {"jax", "tensorflow", "tensorflow_datasets", "array_record", "numcodecs", "PIL", "requests"}
