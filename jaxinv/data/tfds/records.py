"""The records of a dataset that tensorflow-datasets has prepared, decoded into arrays without TensorFlow."""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxinv.errors import DataError, InputError, one_line
from jaxinv.utils.memory import available_bytes

_CHUNK = 2048  # records fetched at a time
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's name for so many channels of 8 bits
_LOSSLESS = {("1", "L"), ("1", "RGB"), ("L", "RGB"), ("P", "RGB"), ("P", "RGBA"), ("RGB", "RGBA")}
_READABLE = ("array_record", "tfrecord")


@dataclass(frozen=True)
class ImageFeatures:
    """Where in a dataset's examples the image and the label are, and what they look like."""

    image: str
    label: str
    shape: tuple[int, int, int]
    classes: int


def prepared_info(folder: Path) -> Any:
    """The `tfds.core.DatasetInfo` of a prepared dataset.

    Raises:
        DataError: its descriptions are damaged.
    """
    import tensorflow_datasets as tfds
    from google.protobuf.json_format import ParseError

    try:
        return tfds.builder_from_directory(str(folder)).info
    except (ParseError, ValueError, TypeError, LookupError, AttributeError, ImportError, OSError) as error:
        raise DataError(f"{folder}: the prepared dataset is damaged ({one_line(error)})") from error


def image_features(name: str, info: Any) -> ImageFeatures:
    """Where a dataset of fixed-size images with one label each keeps them, from its `tfds.core.DatasetInfo`.

    Raises:
        InputError: it is a dataset of another kind.
    """
    from tensorflow_datasets import features

    keys, known = info.supervised_keys, dict(info.features.items())
    if not (isinstance(keys, tuple) and len(keys) == 2 and all(isinstance(key, str) and key in known for key in keys)):
        raise InputError(f"dataset: {name} names no image and label (supervised keys: {keys!r}); give one that does")
    image, label = (known[key] for key in keys)
    if _kind(image) is not features.Image:
        raise InputError(f"dataset: the inputs of {name} are {_kind(image).__name__}; give one with Image")
    if _kind(label) is not features.ClassLabel or label.num_classes is None:
        raise InputError(
            f"dataset: the targets of {name} are {_kind(label).__name__}; give one with a ClassLabel per image"
        )
    if None in image.shape:
        raise InputError(f"dataset: the images of {name} differ in size (shape {image.shape}); give images of one size")
    if image.np_dtype != np.uint8 or image.shape[-1] not in _MODES:
        raise InputError(
            f"dataset: the images of {name} are {np.dtype(image.np_dtype).name} with {image.shape[-1]} channels; "
            "give uint8 with 1, 3 or 4"
        )
    height, width, channels = image.shape
    return ImageFeatures(keys[0], keys[1], (height, width, channels), label.num_classes)


def test_split_of(name: str, info: Any) -> str:
    """The split to test on: `test`, or `validation` where there is no other.

    Raises:
        InputError: neither is there, or no `train`.
    """
    splits = [split for split in info.splits if info.splits[split].num_examples > 0]
    test = next((split for split in ("test", "validation") if split in splits), None)
    if "train" not in splits or test is None:
        found = ", ".join(splits) or "none"
        raise InputError(f"dataset: '{name}' has the splits {found}; give one with train, and with test or validation")
    return test


def _kind(feature: object) -> type:
    return type(feature)


def read_split(info: Any, split: str, where: ImageFeatures) -> tuple[np.ndarray, np.ndarray]:
    """All images, uint8 [N, H, W, K], and labels, int32 [N], of a split, in the order in which they are stored.

    Raises:
        InputError: the records are in a format that cannot be read.
        DataError: files are missing or damaged, or hold another number of examples than the dataset's information says.
    """
    from google.protobuf.message import DecodeError
    from tensorflow_datasets.proto import tf_example_pb2

    parse = getattr(tf_example_pb2, "Example").FromString  # noqa: B009 (its stubs do not know it)
    count = info.splits[split].num_examples
    needed = count * int(np.prod(where.shape))
    if needed > available_bytes():
        raise DataError(
            f"{info.data_dir}: split {split!r} needs {needed:,} bytes of memory; {available_bytes():,} are free"
        )
    try:
        paths = [Path(path) for path in info.splits[split].filepaths]
    except (ValueError, LookupError) as error:
        raise DataError(f"{info.data_dir}: names no files for the split {split!r} ({one_line(error)})") from error
    images = np.empty((count, *where.shape), np.uint8)
    labels = np.empty(count, np.int32)
    found = 0
    for record in _records(info.file_format.value, paths):
        if found < count:
            try:
                example = parse(record).features.feature
            except DecodeError as error:
                raise DataError(f"{info.data_dir}: example {found} of {split!r} is damaged ({error})") from error
            encoded, label = example[where.image].bytes_list.value, example[where.label].int64_list.value
            if len(encoded) != 1 or len(label) != 1:
                raise DataError(f"{info.data_dir}: example {found} of {split!r} has no single {where.image} and label")
            _decode(encoded[0], images[found], f"{info.data_dir}: image {found} of {split!r}")
            labels[found] = label[0]
        found += 1
    if found != count:
        raise DataError(f"{info.data_dir}: split {split!r} holds {found:,} examples, but should hold {count:,}")
    return images, labels


def _records(file_format: str, paths: list[Path]) -> Iterator[bytes]:
    if file_format not in _READABLE:
        raise InputError(f"dataset: {paths[0].parent} is in the format {file_format}; give {' or '.join(_READABLE)}")
    for path in paths:
        yield from (_array_records if file_format == "array_record" else _tf_records)(path)


def _array_records(path: Path) -> Iterator[bytes]:
    try:
        from array_record.python.array_record_data_source import ArrayRecordDataSource
    except ImportError as error:
        raise DataError(f"{path}: reading it needs the package array_record, which is not installed") from error
    try:
        with ArrayRecordDataSource([str(path)]) as source:
            for start in range(0, len(source), _CHUNK):
                yield from source.__getitems__(range(start, min(start + _CHUNK, len(source))))
    except (RuntimeError, OSError, IndexError) as error:
        raise DataError(f"{path}: missing or damaged ({one_line(error)})") from error


def _tf_records(path: Path) -> Iterator[bytes]:
    """TFRecord framing: length (8 bytes), its checksum (4), the record, its checksum (4), all little-endian."""
    try:
        content = memoryview(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    start = 0
    while start < len(content):
        if start + 12 > len(content):
            raise DataError(f"{path}: damaged (truncated at byte {start:,})")
        length, length_checksum = struct.unpack_from("<QI", content, start)
        end = start + 12 + length
        if _masked_crc(content[start : start + 8]) != length_checksum or end + 4 > len(content):
            raise DataError(f"{path}: damaged (no whole record at byte {start:,})")
        record = content[start + 12 : end]
        if _masked_crc(record) != struct.unpack_from("<I", content, end)[0]:
            raise DataError(f"{path}: damaged (checksum of the record at byte {start:,})")
        yield bytes(record)
        start = end + 4


def _masked_crc(data: memoryview) -> int:
    import google_crc32c

    crc = google_crc32c.value(bytes(data))
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _decode(encoded: bytes, out: np.ndarray, what: str) -> None:
    """Decode a PNG, JPEG or BMP into `out` [H, W, K]; where K differs from the file's, only if nothing is lost."""
    from PIL import Image, UnidentifiedImageError

    height, width, channels = out.shape
    mode = _MODES[channels]
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG", "BMP")) as image:
            if image.size != (width, height):
                raise DataError(f"{what} is {image.height}×{image.width} pixels; expected {height}×{width}")
            if image.mode != mode and (image.mode, mode) not in _LOSSLESS:
                raise DataError(f"{what} is stored as {image.mode}, which {mode} cannot hold")
            pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{what} cannot be decoded ({one_line(error)})") from error
    out[...] = pixels.reshape(out.shape)
