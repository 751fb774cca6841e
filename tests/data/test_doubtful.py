"""Data that can be read in two ways: it is read as before, one line says how, and an argument settles it."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxinv.data import Dataset, load_dataset, relight
from jaxinv.errors import InputError

RNG = np.random.default_rng(4)
GREY = RNG.integers(0, 256, (6, 5, 5), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def arrays(images: np.ndarray = GREY, labels: Any = LABELS) -> dict[str, Any]:
    return {"x_train": images, "y_train": labels, "x_test": images[:3], "y_test": labels[:3]}


def make(given: dict[str, Any], **meaning: Any) -> Dataset:
    return Dataset(**given, **meaning)


def bits(dtype: Any = np.uint8) -> np.ndarray:
    return (GREY > 127).astype(dtype)


@pytest.fixture(params=["arrays", "npz"])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A dataset of arrays, made in Python or from a file."""

    def from_file(given: dict[str, Any], **meaning: Any) -> Dataset:
        np.savez(tmp_path / "data.npz", **given)
        return load_dataset(tmp_path / "data.npz", **meaning)

    return from_file if request.param == "npz" else make


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert all(record.levelno == logging.WARNING and record.name.startswith("jaxinv.") for record in caplog.records)
    messages = [record.getMessage() for record in caplog.records]
    assert all("\n" not in message for message in messages)
    caplog.clear()
    return messages


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_integers_0_and_1(read: Any, caplog: pytest.LogCaptureFixture, dtype: Any) -> None:
    assert read(arrays(bits(dtype))).x_train.max() == 1
    (message,) = said(caplog)
    assert message.startswith("x_train and x_test: integers 0 and 1 are read as grey levels 0 and 1 of 255")
    assert "give value_range=(0, 1) if 1 is white, value_range=(0, 255) if not" in message
    np.testing.assert_array_equal(read(arrays(bits(dtype)), value_range=(0, 1)).x_train[..., 0], 255 * bits())
    np.testing.assert_array_equal(read(arrays(bits(dtype)), value_range=(0, 255)).x_train[..., 0], bits())
    assert not said(caplog)


def test_what_is_no_question_of_range(read: Any, caplog: pytest.LogCaptureFixture) -> None:
    two = bits()
    two[-1, -1, -1] = 2  # one value is enough, in either split
    read(arrays(two))
    read(arrays() | {"x_test": bits()[:3]})
    read(arrays(bits()) | {"x_test": two[-3:]})
    read(arrays(np.zeros_like(GREY)))  # black, however it is read
    assert read(arrays(bits(np.float32))).x_train.max() == 255  # floats: 0 to 1
    assert not said(caplog)


def test_a_range_holds_for_floats_too() -> None:
    np.testing.assert_array_equal(make(arrays(bits(float)), value_range=(0, 255)).x_train[..., 0], bits())
    np.testing.assert_array_equal(make(arrays(GREY / 255), value_range=(0, 1)).x_train[..., 0], GREY)
    with pytest.raises(InputError, match=r"x_train: floats from \d to 25\d are not allowed"):
        make(arrays(GREY.astype(float)), value_range=(0, 1))
    with pytest.raises(InputError, match=r"x_train: grey values from \d to 25\d are not allowed; give 0 to 1"):
        make(arrays(GREY), value_range=(0, 1))


@pytest.mark.parametrize("shape", [(6, 1, 8, 8), (6, 3, 8, 8), (6, 4, 8, 8), (6, 3, 4, 4)])
def test_channels_first(read: Any, caplog: pytest.LogCaptureFixture, shape: tuple[int, ...]) -> None:
    images = RNG.integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(read(arrays(images)).x_train, images)
    (message,) = said(caplog)
    assert message.startswith(f"x_train: shape {shape} is read as [N, H, W, K]")
    assert "give channels='first' if it is [N, K, H, W], channels='last' if not" in message
    np.testing.assert_array_equal(read(arrays(images), channels="last").x_train, images)
    made = read(arrays(images), channels="first")
    np.testing.assert_array_equal(made.x_train, images.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(made.x_test, images[:3].transpose(0, 2, 3, 1))
    assert made.x_train.flags.c_contiguous
    assert not said(caplog)


@pytest.mark.parametrize(
    "shape", [(6, 8, 8), (6, 3, 3), (6, 8, 8, 3), (6, 2, 8, 8), (6, 3, 8, 9), (6, 3, 3, 3), (6, 4, 1, 1)]
)
def test_other_shapes_are_no_question(read: Any, caplog: pytest.LogCaptureFixture, shape: tuple[int, ...]) -> None:
    read(arrays(RNG.integers(0, 256, shape, np.uint8)))
    assert not said(caplog)


def test_grey_images_have_no_channels_to_move() -> None:
    np.testing.assert_array_equal(make(arrays(), channels="first").x_train[..., 0], GREY)


def test_labels_with_gaps(read: Any, caplog: pytest.LogCaptureFixture) -> None:
    given = arrays(labels=LABELS + 1)
    kept = read(given)
    assert (kept.classes, kept.y_train.tolist()) == (4, [1, 2, 3, 1, 2, 3])
    (message,) = said(caplog)
    assert message.startswith(
        "y_train and y_test: no image has label 0, and the labels are kept, which makes 4 classes;"
    )
    assert "give classes=4 if that is meant, renumber=True to number the 3 labels that occur from 0" in message
    assert read(given, classes=4).classes == read(given, renumber=False).classes == 4
    made = read(given, renumber=True)
    assert (made.classes, made.y_train.tolist(), made.y_test.tolist()) == (3, LABELS.tolist(), LABELS[:3].tolist())
    assert made.y_train.dtype == np.int32
    assert not said(caplog)


def test_any_integers_can_be_renumbered_together() -> None:
    made = make(arrays(labels=np.array([-1, 1, -1, 1, 1, 1])), renumber=True)
    assert (made.classes, made.y_train.tolist(), made.y_test.tolist()) == (2, [0, 1, 0, 1, 1, 1], [0, 1, 0])
    given = arrays(labels=np.array([900_000, 7, 7, 30, 30, 7], np.uint64)) | {"y_test": [5, 30, 7]}
    made = make(given, renumber=True)
    assert (made.classes, made.y_train.tolist(), made.y_test.tolist()) == (4, [3, 1, 1, 2, 2, 1], [0, 2, 1])
    assert make(given, renumber=True, classes=9).classes == 9
    with pytest.raises(InputError, match="y_train: label 3 is not allowed; give 0 to 2"):
        make(given, renumber=True, classes=3)


def test_many_gaps_stay_one_line(caplog: pytest.LogCaptureFixture) -> None:
    make(arrays(labels=np.array([0, 99, 0, 0, 0, 0], np.uint64)))
    (message,) = said(caplog)
    assert "no image has label 1, 2, 3, 4, 5, …, and" in message
    assert "to number the 2 labels that occur" in message


def test_labels_of_both_splits_count(caplog: pytest.LogCaptureFixture) -> None:
    make(arrays(labels=np.array([0, 0, 0, 2, 2, 2])) | {"y_test": [1, 1, 1]})
    assert not said(caplog)


def test_each_doubt_is_one_line_and_relighting_adds_none(caplog: pytest.LogCaptureFixture) -> None:
    images = np.repeat(bits()[:, None], 3, axis=1)
    data = make(arrays(images, LABELS + 1))
    assert len(said(caplog)) == 3
    relight(data, strength=1e-6, seed=0)
    assert not said(caplog)


@pytest.mark.parametrize(
    ("meaning", "says"),
    [
        ({"value_range": (0, 2)}, r"value_range: \(0, 2\) is not allowed; give \(0, 1\) or \(0, 255\)"),
        ({"value_range": 1}, "value_range: 1 is not allowed"),
        ({"value_range": "0-1"}, "value_range: '0-1' is not allowed"),
        ({"channels": "frist"}, "channels: 'frist' is not known; did you mean 'first'"),
        ({"renumber": "yes"}, "renumber: 'yes' is not allowed; give True, False or None"),
    ],
)
def test_other_arguments_are_refused(meaning: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=f"^{says}"):
        make(arrays(), **meaning)


def test_what_a_dataset_knows_is_not_asked(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("mnist", make(arrays())):
        with pytest.raises(InputError, match="channels: 'first' is not allowed with the dataset"):
            load_dataset(name, channels="first")
        with pytest.raises(InputError, match="renumber: False is not allowed with the dataset"):
            load_dataset(name, renumber=False)
    load_dataset("mnist")
    assert not said(caplog)


def test_a_file_can_say_what_it_means(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "data.npz"
    images = np.repeat(bits()[:, None], 3, axis=1)
    np.savez(path, **arrays(images, LABELS + 1), value_range=(0, 1), channels="first", renumber=True)
    made = load_dataset(path)
    np.testing.assert_array_equal(made.x_train, 255 * images.transpose(0, 2, 3, 1))
    assert made.classes == 3
    other = load_dataset(path, value_range=(0, 255), channels="last", renumber=False)
    np.testing.assert_array_equal(other.x_train, images)
    assert other.classes == 4
    assert not said(caplog)
    np.savez(path, **arrays(), channels="frist")
    with pytest.raises(InputError, match=r"data.npz: channels: 'frist' is not known; did you mean 'first'\?"):
        load_dataset(path)


@pytest.mark.slow
def test_the_command_line_says_each_once(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **arrays(bits()))
    command = [
        sys.executable,
        "-m",
        "jaxinv",
        "run",
        "--trials",
        "1",
        "--steps",
        "1",
        "--batch-size",
        "2",
        "--no-cache",
    ]
    for quiet, lines in ((False, 1), (True, 0)):
        done = subprocess.run(
            [*command, "--dataset", "data.npz", *(["--quiet"] if quiet else [])],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr.count("integers 0 and 1 are read as") == lines
        assert done.stderr.startswith("jaxinv: x_train and x_test: ") is not quiet
