"""`Dataset.from_source`: every kind of source gives what its arrays give, and others are refused by item."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxinv.data import Dataset
from jaxinv.data import source as module
from jaxinv.errors import InputError

RNG = np.random.default_rng(5)
COLOUR = RNG.integers(0, 256, (20, 5, 4, 3), np.uint8)
GREY = COLOUR[..., 0]
LABELS = np.arange(20) % 3


class Source:
    """Items made one by one, as `torch.utils.data.Dataset` has them."""

    def __init__(self, images: Any, make: Callable[[Any, int], Any] = lambda image, label: (image, label)) -> None:
        self.images, self.make, self.asked = images, make, []

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> Any:
        assert type(index) is int
        self.asked.append(index)
        return self.make(self.images[index], int(LABELS[index]))


class Batched(Source):
    """Also gives several at once, as datasets of Hugging Face and `tfds.data_source` do."""

    def __getitems__(self, indices: list[int]) -> list[Any]:
        assert len(indices) <= 256
        return [self.make(self.images[index], int(LABELS[index])) for index in indices]


def read(source: Any, **arguments: Any) -> Dataset:
    return Dataset.from_source(source, source, **arguments)


def items(images: Any, make: Callable[[Any, int], Any]) -> list[Any]:
    return [make(image, int(label)) for image, label in zip(images, LABELS, strict=False)]


def assert_same(made: Dataset, images: np.ndarray) -> None:
    expected = Dataset(x_train=images, y_train=LABELS, x_test=images, y_test=LABELS, channels="last")
    assert made.fingerprint == expected.fingerprint
    assert not made.x_train.flags.writeable


@pytest.mark.parametrize("kind", [Source, Batched, items])
@pytest.mark.parametrize("images", [COLOUR, GREY], ids=["colour", "grey"])
def test_every_kind_of_item(kind: Any, images: np.ndarray) -> None:
    assert_same(read(kind(images, lambda image, label: {"label": label, "image": image, "id": 7})), images)
    assert_same(read(kind(images, lambda image, label: {"img": image, "labels": label})), images)
    assert_same(read(kind(images, lambda image, label: {"pixel_values": image, "target": label})), images)
    assert_same(read(kind(images, lambda image, label: {"x": image, "y": label})), images)
    assert_same(read(kind(images, lambda image, label: (image, label))), images)
    assert_same(read(kind(images, lambda image, label: [image, np.int64(label)])), images)
    assert_same(read(kind(images, lambda image, label: {"image": image, "label": np.array([label])})), images)


def test_names_and_positions_can_be_given() -> None:
    both = items(GREY, lambda image, label: {"image": image + 1, "img": image, "coarse": 9, "fine": label})
    assert_same(read(both, image="img", label="fine"), GREY)
    assert_same(read(items(GREY, lambda image, label: (label, 9, image)), image=2, label=0), GREY)
    assert_same(read(items(GREY, lambda image, label: {0: image, 1: label}), image=0, label=1), GREY)


@pytest.mark.parametrize(
    ("mode", "images"),
    [
        ("L", GREY),
        ("RGB", COLOUR),
        ("RGBA", np.concatenate([COLOUR, COLOUR[..., :1]], axis=-1)),
        ("1", 255 * (GREY > 127).astype(np.uint8)),
        ("I", GREY),
        ("F", GREY),
    ],
)
def test_pillow_s_images(mode: str, images: np.ndarray) -> None:
    pictures = [Image.fromarray(image).convert(mode) for image in images]
    assert_same(read(items(pictures, lambda image, label: {"image": image, "label": label})), images)


def test_palettes_are_looked_up() -> None:
    pictures = [Image.fromarray(image).quantize(4) for image in COLOUR]
    made = read(items(pictures, lambda image, label: (image, label)))
    assert_same(made, np.stack([np.asarray(picture.convert("RGB")) for picture in pictures]))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
def test_tensors_of_pytorch(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    images = torch.tensor(COLOUR).to(getattr(torch, dtype)) / (255 if "float" in dtype else 1)
    first = torch.utils.data.TensorDataset(images.to(getattr(torch, dtype)).permute(0, 3, 1, 2), torch.tensor(LABELS))
    assert_same(read(first, channels="first"), COLOUR)
    subset = torch.utils.data.Subset(first, range(20))
    assert_same(read(subset, channels="first"), COLOUR)


@pytest.mark.parametrize("slab", [1, 3, 256])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_have_one_range_whatever_comes_first(monkeypatch: pytest.MonkeyPatch, slab: int, dtype: Any) -> None:
    """As for arrays: (0, 1) if none exceeds 1, in either split."""
    monkeypatch.setattr(module, "_SLAB", slab)
    dark = (GREY > 127).astype(dtype)
    late = dark.copy()
    late[-1, -1, -1] = 2
    early = late[::-1].copy()
    whole = GREY.astype(dtype)
    for train, test in (
        (dark, dark),
        (dark, late),
        (late, dark),
        (early, dark),
        (whole, dark),
        (dark, whole),
        (whole / 255, dark),
    ):
        made = Dataset.from_source(Source(train), Source(test))
        assert made.fingerprint == Dataset(x_train=train, y_train=LABELS, x_test=test, y_test=LABELS).fingerprint
    for given in ((0, 1), (0, 255)):
        made = read(Source(dark), value_range=given)
        assert made.x_train.max() == (255 if given == (0, 1) else 1)
    for train, test in ((whole / 255, late), (late, whole / 255)):
        with pytest.raises(InputError, match=r"floats from .* are not allowed; give whole numbers from 0 to 255"):
            Dataset.from_source(Source(train), Source(test))


def test_doubts_are_said_once_and_settled(caplog: pytest.LogCaptureFixture) -> None:
    ones = (GREY > 127).astype(np.uint8)
    shifted = Source(np.repeat(ones[:, None, :, :4], 3, axis=1)[..., :4, :], lambda image, label: (image, label + 1))
    read(shifted)
    assert [message.split(":")[0] for message in caplog.messages] == [
        "x_train",
        "x_train and x_test",
        "y_train and y_test",
    ]
    caplog.clear()
    made = read(shifted, value_range=(0, 1), channels="first", renumber=True)
    assert (made.image_shape, made.x_train.max(), made.classes) == ((4, 4, 3), 255, 3)
    assert read(shifted, value_range=(0, 255), channels="last", classes=4).x_train.max() == 1
    assert not caplog.messages


def test_each_item_is_read_once_and_in_order() -> None:
    train, test = Source(GREY), Source(GREY[:4])
    assert len(Dataset.from_source(train, test).x_test) == 4
    assert train.asked == [0, *range(20)]  # the first also shows what there is
    assert test.asked == [0, *range(4)]


def test_the_image_of_one_item_is_all_that_is_held_twice() -> None:
    import tracemalloc

    class Large(Source):
        def __getitem__(self, index: int) -> Any:
            return np.full((64, 64, 3), index % 251, np.uint8), index % 2

    source = Large(range(4000))  # 49 MB
    tracemalloc.start()
    Dataset.from_source(source, Large(range(1)), classes=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.25 * 4000 * 64 * 64 * 3


def changed(index: int, **parts: Any) -> list[Any]:
    made = items(GREY, lambda image, label: {"image": image, "label": label})
    made[index] = {**made[index], **parts}
    return made


@pytest.mark.parametrize(
    ("source", "arguments", "says"),
    [
        ({"train": 1, "test": 2}, {}, "train: a mapping of train, test is not allowed; give the split in it"),
        (iter([]), {}, "train: list_iterator is not allowed; give what has a length and items in order"),
        ("mnist", {}, "train: str is not allowed"),
        ({1, 2}, {}, "train: set is not allowed"),
        ([], {}, "train: no items; give at least one"),
        ([GREY[0]], {}, "train: item 0 is of type ndarray, which is not allowed; give mappings or tuples"),
        ([{"picture": GREY[0], "label": 0}], {}, "image: not clear among picture, label in train; give its name"),
        ([{"image": 0, "img": 0, "label": 0}], {}, "image: not clear among image, img, label in train"),
        ([{"image": 0, "fine_label": 0}], {}, "label: not clear among image, fine_label in train"),
        (changed(0), {"image": "imge"}, "image: 'imge' is not known; did you mean 'image'? Give one of image, label"),
        (changed(0), {"label": 1}, "label: '1' is not known; give one of image, label"),
        (changed(0), {"label": "image"}, "label: 'image' is the image; give another place"),
        ([(1, 2, 3)], {}, "image: not clear among the 3 parts of train's items; give its position"),
        ([(1, 2, 3)], {"image": 0}, "label: not clear among the 3 parts of train's items"),
        ([(1, 2, 3)], {"image": 0, "label": 3}, "label: 3 is not allowed; give a whole number from 0 to 2, a position"),
        (
            [(1, 2)],
            {"image": "img", "label": 1},
            "image: 'img' is not allowed; give a whole number from 0 to 1, a position in",
        ),
        (
            changed(17, image=GREY[0, :3]),
            {},
            "train: item 17 has an image of shape (3, 4) and uint8, and item 0 of shape (5, 4) and uint8; give images",
        ),
        (
            changed(9, image=GREY[0] / 255),
            {},
            "train: item 9 has an image of shape (5, 4) and float64, and item 0 of",
        ),
        (changed(9, image=GREY[0].astype(int) + 300), {}, "train: grey values from"),
        (changed(0, image=GREY[0, 0]), {}, "train: item 0: an image of shape (4,) is not allowed; give [H, W] or"),
        (changed(3, image=GREY[0] > 9), {}, "train: item 3: dtype bool is not allowed"),
        (changed(3, image="3.png"), {}, "train: item 3: dtype <U5 is not allowed"),
        (changed(3, image=[[1], [2, 3]]), {}, "train: item 3: not a rectangular array"),
        (
            changed(3, image=Image.new("CMYK", (4, 5))),
            {},
            "train: item 3: an image of mode 'CMYK' is not allowed; give",
        ),
        (changed(4, label="cat"), {}, "train: item 4 has the label 'cat', which is not allowed; give one whole number"),
        (changed(4, label=1.0), {}, "train: item 4 has the label 1.0"),
        (changed(4, label=True), {}, "train: item 4 has the label True"),
        (changed(4, label=None), {}, "train: item 4 has the label None"),
        (changed(4, label=[0, 1, 0]), {}, "train: item 4 has the label [0, 1, 0]"),
        (changed(4, label=-1), {}, "y_train: label -1 is not allowed; give 0 or more, or renumber=True"),
        ([*changed(0), {"label": 1}], {}, "train: item 20 has no 'image', which item 0 has; give it in all"),
        ([*changed(0), (1, 2)], {}, "train: item 20 has no 'image'"),
        (changed(0), {"value_range": (0, 2)}, "value_range: (0, 2) is not allowed"),
        (changed(0), {"channels": "middle"}, "channels: 'middle' is not known"),
        (changed(0), {"name": ""}, "name: '' is not allowed"),
        (
            Source(np.broadcast_to(np.uint8(0), (10**9, 1000, 1000))),
            {},
            "train: 1,000,000,000,000,000 bytes of images do",
        ),
    ],
)
def test_others_are_refused_in_one_line(source: Any, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        read(source, **arguments)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_splits_must_agree() -> None:
    with pytest.raises(InputError, match="train and test: one has floats and the other integers; give one kind"):
        Dataset.from_source(Source(GREY), Source(GREY / 255))
    with pytest.raises(InputError, match="x_test: image shape"):
        Dataset.from_source(Source(GREY), Source(COLOUR))


def test_a_batch_of_another_length_is_refused() -> None:
    class Short(Batched):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            return super().__getitems__(indices)[1:]

    with pytest.raises(InputError, match="train: 19 items came where 20 were asked for"):
        read(Short(GREY))
