"""`Dataset` from arrays: what is accepted, what is refused, and that nobody can change it afterwards."""

import dataclasses
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxinv.data import Dataset
from jaxinv.errors import InputError

RNG = np.random.default_rng(20)
IMAGES = RNG.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
IMAGES[0, 0, 0] = 0, 255, 128
LABELS = [0, 1, 2, 0, 1, 3]


def make(**changes) -> Dataset:
    arrays = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:2], "y_test": LABELS[:2]}
    return Dataset(**(arrays | changes))


def both(images) -> Dataset:
    return make(x_train=images, x_test=images[:2])


def test_what_it_holds():
    data = make(name="mine")
    assert data.x_train.dtype == np.uint8
    assert data.y_train.dtype == data.y_test.dtype == np.int32
    assert data.image_shape == (4, 5, 3)
    assert data.classes == 4
    assert repr(data) == "Dataset('mine': 6 + 2 images of 4×5×3, 4 classes)"
    np.testing.assert_array_equal(data.x_train, IMAGES)


def test_fields_are_keyword_only_and_frozen():
    with pytest.raises(TypeError):
        Dataset(IMAGES, LABELS, IMAGES, LABELS)  # pyright: ignore
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().name = "other"  # pyright: ignore


def test_grey_images_get_a_channel():
    assert both(IMAGES[..., 0]).x_train.shape == (6, 4, 5, 1)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64, np.float16, np.float32, np.float64])
def test_whole_numbers_of_any_dtype_become_uint8(dtype):
    images = (IMAGES % 128).astype(np.uint8)
    data = both(images.astype(dtype))
    assert data.x_train.dtype == np.uint8
    np.testing.assert_array_equal(data.x_train, images)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_all_256_values_survive_division_by_255(dtype):
    values = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    divided = (values / 255).astype(dtype)
    multiplied = values.astype(dtype) * dtype(1 / 255)
    for unit in (divided, multiplied):
        data = make(x_train=unit, y_train=LABELS[:4], x_test=unit[:2])
        np.testing.assert_array_equal(data.x_train[..., 0], values)
    if dtype == np.float32:
        assert (divided != multiplied).any(), "both ways of scaling are needed"


@pytest.mark.parametrize(("largest", "factor"), [(1, 255), (2, 1), (3, 1)])
def test_floats_of_which_none_exceeds_1_are_read_as_0_to_1(largest, factor):
    images = (IMAGES % (largest + 1)).astype(np.float32)
    np.testing.assert_array_equal(both(images).x_train, factor * images)


def test_one_range_holds_for_both_splits():
    """A test split that happens to hold zeros and ones only is not stretched when the other goes to 255."""
    dark = (IMAGES[:2] > 127).astype(np.float32)
    data = make(x_train=IMAGES.astype(np.float32), x_test=dark)
    np.testing.assert_array_equal(data.x_test, dark)
    np.testing.assert_array_equal(make(x_train=IMAGES / 255, x_test=dark).x_test, 255 * dark)


def test_nested_lists_are_arrays():
    data = Dataset(x_train=[[[0, 255]]] * 2, y_train=[0, 1], x_test=[[[7, 8]]], y_test=[1])  # pyright: ignore
    assert data.x_test.tolist() == [[[[7], [8]]]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x_train": IMAGES.reshape(6, -1)},
            r"x_train: shape \(6, 60\) is not allowed; give \[N, H, W, K\]",
        ),
        ({"x_test": IMAGES[None]}, r"x_test: shape \(1, 6, 4, 5, 3\)"),
        (
            {"x_train": IMAGES[:0], "y_train": []},
            r"x_train: shape \(0, 4, 5, 3\) is not allowed; give at least one image",
        ),
        ({"x_test": IMAGES[:0], "y_test": []}, r"x_test: shape \(0, 4, 5, 3\) is not allowed; give at least one"),
        ({"x_train": IMAGES[:, :0]}, r"x_train: shape \(6, 0, 5, 3\) is not allowed; give images with H, W and K"),
        ({"x_test": IMAGES[:2, :3]}, r"x_test: image shape \(3, 5, 3\) is not allowed; give \(4, 5, 3\)"),
        ({"x_test": IMAGES[:2, ..., 0]}, r"x_test: image shape \(4, 5, 1\)"),
        ({"x_train": IMAGES > 3}, "x_train: dtype bool is not allowed; give uint8 grey values"),
        ({"x_train": IMAGES.astype(complex)}, "x_train: dtype complex128"),
        ({"x_train": IMAGES.astype(object)}, "x_train: dtype object"),
        ({"x_train": IMAGES.astype(str)}, "x_train: dtype <U3"),
        ({"x_train": [[[0]], [[1, 2]]]}, "x_train: not a rectangular array"),
        ({"x_train": np.ma.masked_less(IMAGES, 9)}, "x_train: a masked array"),
        ({"x_train": IMAGES.astype(np.int32) + 1}, "x_train: grey values from 1 to 256 are not allowed; give 0 to 255"),
        ({"x_test": IMAGES[:2].astype(np.int16) - 1}, "x_test: grey values from -1 to 254"),
        ({"x_train": IMAGES / 255}, "x_train and x_test: one is float and the other is not"),
        ({"y_train": LABELS[:5]}, "y_train: 5 labels are not allowed; give 6, one for each image"),
        ({"y_train": np.eye(6, dtype=int)}, r"y_train: shape \(6, 6\) is not allowed; give \[N\]"),
        ({"y_test": np.zeros(2)}, "y_test: dtype float64 is not allowed; give integers"),
        ({"y_test": [True, False]}, "y_test: dtype bool is not allowed; give integers"),
        ({"y_test": ["a", "b"]}, "y_test: dtype <U1 is not allowed; give integers"),
        ({"y_train": [0, 1, 2, 3, -1, 0]}, "y_train: label -1 is not allowed; give 0 or more"),
        ({"y_train": [0, 1, 2, 3, 4, 5], "classes": 5}, "y_train: label 5 is not allowed; give 0 to 4"),
        ({"y_test": [0, 7], "classes": 5}, "y_test: label 7 is not allowed; give 0 to 4"),
        ({"y_test": [0, 2**31]}, "classes: label 2147483648 would make 2,147,483,649 classes"),
        ({"y_train": [0] * 6, "y_test": [0, 0]}, "classes: 1 is not allowed; give at least 2"),
        ({"classes": 1}, "classes: 1 is not allowed; give at least 2"),
        ({"classes": -1}, "classes: -1 is not allowed; give a whole number"),
        ({"classes": 4.0}, r"classes: 4\.0 is not allowed; give a whole number"),
        ({"classes": True}, "classes: True is not allowed; give a whole number"),
        ({"name": ""}, "name: '' is not allowed; give a line of text"),
        ({"name": "two\nlines"}, r"name: 'two\\nlines' is not allowed; give a line of text"),
        ({"name": 3}, "name: 3 is not allowed; give a line of text"),
    ],
)
def test_bad_input_gives_one_line_that_names_the_field(changes, message):
    with pytest.raises(InputError, match=f"^{message}") as caught:
        make(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.where(IMAGES == 128, np.nan, IMAGES / 255), "x_train: nan is not allowed; give finite values"),
        (np.where(IMAGES == 128, np.inf, IMAGES / 255), "x_train: inf is not allowed"),
        (
            IMAGES / 127.5 - 1,
            "x_train: floats from -1 to 1 are not allowed; give whole numbers from 0 to",
        ),
        (
            -(IMAGES / 255),
            "x_train: floats from -1 to -0 are not allowed; give whole numbers from 0 to",
        ),
        (IMAGES + 0.5, r"x_train: floats from 0\.5 to 255\.5"),
        (IMAGES * 2.0, "x_train: floats from 0 to 510"),
        (IMAGES / 256, r"x_train: floats from 0 to 1 that are no multiples of 1/255"),
        (np.sqrt(IMAGES / 255), r"x_train: floats from 0 to 1 that are no multiples of 1/255"),
    ],
)
def test_floats_outside_any_known_range_are_refused(images, message):
    with pytest.raises(InputError, match=f"^{message}"):
        both(images)


def test_the_callers_arrays_stay_writable_and_apart():
    images, labels = IMAGES.copy(), np.array(LABELS, np.int32)
    data = make(x_train=images, y_train=labels)
    images[:], labels[:] = 0, 0
    np.testing.assert_array_equal(data.x_train, IMAGES)
    np.testing.assert_array_equal(data.y_train, LABELS)


def test_a_read_only_view_of_writable_memory_is_copied_too():
    images = IMAGES.copy()
    view = images[:]
    view.flags.writeable = False
    data = make(x_train=view)
    images[:] = 0
    np.testing.assert_array_equal(data.x_train, IMAGES)


def test_memory_that_nobody_can_write_to_is_not_copied():
    frozen = IMAGES.copy()
    frozen.flags.writeable = False
    assert np.shares_memory(make(x_train=frozen).x_train, frozen)
    buffer = np.frombuffer(IMAGES.tobytes(), np.uint8).reshape(IMAGES.shape)
    assert np.shares_memory(make(x_train=buffer).x_train, buffer)


@pytest.mark.parametrize("field", ["x_train", "y_train", "x_test", "y_test"])
def test_its_own_arrays_are_read_only(field):
    array = getattr(make(x_train=np.asfortranarray(IMAGES)), field)
    assert array.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_fingerprint_is_the_documented_hash():
    data = make()
    digest = hashlib.sha256(b"classes 4\n")
    for array, dtype in ((IMAGES, "|u1"), (LABELS, "<i4"), (IMAGES[:2], "|u1"), (LABELS[:2], "<i4")):
        array = np.asarray(array, dtype)
        digest.update(f"{dtype} {array.shape}\n".encode() + array.tobytes())
    assert data.fingerprint == digest.hexdigest()


def test_fingerprint_follows_content_not_name():
    assert make(name="a").fingerprint == make(name="b").fingerprint
    changed = IMAGES.copy()
    changed[-1, -1, -1, -1] ^= 1
    swapped = IMAGES.transpose(0, 2, 1, 3)
    others = [
        make(x_train=changed),
        make(x_test=changed[-2:]),
        make(y_train=[0, 1, 2, 0, 1, 2], classes=4),
        make(y_test=[1, 1]),
        make(classes=5),
        make(x_train=IMAGES.reshape(swapped.shape), x_test=IMAGES[:2].reshape(2, 5, 4, 3)),
    ]
    assert len({data.fingerprint for data in [make(), *others]}) == 1 + len(others)


@settings(max_examples=50)
@given(
    shape=st.tuples(*[st.integers(1, 4)] * 4),
    dtype=st.sampled_from([np.uint8, np.int64, np.float32]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_grey_values_round_trip(shape, dtype, seed):
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    images.flat[0] = 255
    labels = np.arange(shape[0]) % 3
    data = Dataset(x_train=images.astype(dtype), y_train=labels, x_test=images.astype(dtype), y_test=labels, classes=3)
    np.testing.assert_array_equal(data.x_train, images)
    assert data.image_shape == shape[1:]
