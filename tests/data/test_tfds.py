"""`tfds:<name>`, on tiny datasets that tensorflow-datasets itself has prepared."""

import io
import json
import logging
import os
import shutil
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxinv.data import Dataset, describe_datasets, load_dataset, load_tfds
from jaxinv.data.tfds.folders import Request, data_root, find_prepared, parse, quiet
from jaxinv.data.tfds.load import COPY
from jaxinv.errors import DataError, InputError

ROOT = Path(__file__).parents[2]
COUNTS = {"train": 17, "test": 6}


def images_of(split: str, count: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(len(split))
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8), rng.integers(0, 5, count)


def png(pixels: np.ndarray, mode: str | None = None, file_format: str = "png") -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    (image if mode is None else image.convert(mode)).save(stream, file_format)
    return stream.getvalue()


def prepare_tiny(
    root: Path,
    *,
    name="tiny_grid",
    shape=(5, 4, 3),
    counts=COUNTS,
    keys: tuple | None = ("image", "label"),
    image=None,
    label=None,
    encode=png,
    file_format="array_record",
    version="1.2.0",
    config=None,
) -> Path:
    """Have tensorflow-datasets prepare a dataset of random images; return its folder."""
    image = tfds.features.Image(shape=shape) if image is None else image
    label_feature = tfds.features.ClassLabel(num_classes=5) if label is None else label
    dataset_name = name

    class TinyGrid(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # pyright: ignore
        VERSION = tfds.core.Version(version)
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)] if config else []
        name = dataset_name

        def _info(self):
            features = {"image": image, "label": label_feature, "id": tfds.features.Text()}
            features = tfds.features.FeaturesDict(features)
            return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=keys)

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split, count) for split, count in counts.items()}

        def _generate_examples(self, split, count):
            for i, (pixels, number) in enumerate(zip(*images_of(split, count, shape), strict=True)):
                target = int(number) if label is None else [int(number)]
                yield i, {"image": encode(pixels), "label": target, "id": f"{split} {i}"}

    with quiet():
        builder = TinyGrid(data_dir=str(root), config=config)
        builder.download_and_prepare(file_format=file_format)
    return Path(builder.data_dir)


def pairs(x: np.ndarray, y: np.ndarray) -> Counter:
    return Counter((image.tobytes(), int(label)) for image, label in zip(x, y, strict=True))


def assert_holds(data: Dataset, shape=(5, 4, 3), test_split="test") -> None:
    """As sets of (image, label) pairs: tensorflow-datasets stores them in an order of its own."""
    assert data.image_shape == shape
    assert pairs(data.x_train, data.y_train) == pairs(*images_of("train", 17, shape))
    assert pairs(data.x_test, data.y_test) == pairs(*images_of(test_split, 6, shape))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tfds")
    prepare_tiny(root)
    return root


@pytest.fixture
def root(pristine, tmp_path) -> Path:
    """A folder of prepared datasets that a test may damage."""
    for path in sorted(pristine.rglob("*")):
        copy = tmp_path / path.relative_to(pristine)
        copy.mkdir() if path.is_dir() else copy.write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture
def folder(root) -> Path:
    return root / "tiny_grid" / "1.2.0"


class TestReading:
    def test_what_was_prepared_is_what_is_read(self, root, capfd):
        data = load_dataset("tfds:tiny_grid", data_dir=root)
        assert_holds(data)
        assert (data.name, data.classes) == ("tfds:tiny_grid", 5)
        assert capfd.readouterr().out == ""

    def test_its_own_data_sources_are_read_alike(self, folder):
        with quiet():
            sources: Any = tfds.builder_from_directory(str(folder)).as_data_source()
        assert_holds(Dataset.from_source(sources["train"], sources["test"], classes=5))

    @pytest.mark.parametrize("shape", [(5, 4, 1), (6, 6, 4)])
    def test_other_channels(self, tmp_path, shape):
        prepare_tiny(tmp_path, shape=shape)
        assert_holds(load_tfds("tiny_grid", data_dir=tmp_path), shape)

    def test_the_data_dir_is_argument_then_variable_then_home(self, root, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
        assert data_root(None) == tmp_path / "home" / "tensorflow_datasets"
        monkeypatch.setenv("TFDS_DATA_DIR", str(root))
        assert data_root(None) == root
        assert_holds(load_dataset("tfds:tiny_grid"))
        assert data_root("~/elsewhere") == tmp_path / "home" / "elsewhere"
        monkeypatch.setenv("TFDS_DATA_DIR", "")
        assert data_root(None) == tmp_path / "home" / "tensorflow_datasets"

    @pytest.mark.parametrize("data_dir", ["", "gs://tfds-data", "a\0b", __file__])
    def test_data_dirs_that_are_no_folders(self, data_dir):
        with pytest.raises(InputError, match=r"^data_dir: .* is not allowed; give a (local )?folder$"):
            load_dataset("tfds:tiny_grid", data_dir=data_dir)

    def test_validation_stands_in_for_test_and_the_name_says_so(self, tmp_path):
        prepare_tiny(tmp_path, counts={"train": 17, "validation": 6})
        for _ in range(2):  # decoded, then from the copy
            data = load_tfds("tiny_grid", data_dir=tmp_path)
            assert data.name == "tfds:tiny_grid (validation as test)"
            assert_holds(data, test_split="validation")

    def test_test_is_preferred_to_validation(self, tmp_path):
        prepare_tiny(tmp_path, counts={"train": 17, "test": 6, "validation": 3})
        assert_holds(load_tfds("tiny_grid", data_dir=tmp_path))

    def test_grey_images_stored_for_three_channels_are_repeated(self, tmp_path):
        prepare_tiny(tmp_path, encode=lambda pixels: png(pixels, "L"))
        data = load_tfds("tiny_grid", data_dir=tmp_path)
        grey = {
            np.asarray(Image.fromarray(pixels).convert("L")).tobytes() for pixels in images_of("test", 6, (5, 4, 3))[0]
        }
        assert {image[..., 0].tobytes() for image in data.x_test} == grey
        assert (data.x_test == data.x_test[..., :1]).all()

    def test_jpeg(self, tmp_path):
        prepare_tiny(tmp_path, encode=lambda pixels: png(pixels, file_format="jpeg"))
        data = load_tfds("tiny_grid", data_dir=tmp_path)
        decoded = [
            np.asarray(Image.open(io.BytesIO(png(pixels, file_format="jpeg"))))
            for pixels in images_of("test", 6, (5, 4, 3))[0]
        ]
        assert {image.tobytes() for image in data.x_test} == {image.tobytes() for image in decoded}

    @pytest.mark.parametrize(
        ("encode", "message"),
        [
            (lambda pixels: png(pixels, "RGBA"), "is stored as RGBA, which RGB cannot hold"),
            (lambda pixels: png(pixels[:-1]), "is 4×4 pixels; expected 5×4"),
            (lambda pixels: png(pixels)[:40], r"cannot be decoded \("),
            (lambda pixels: b"GIF89a", r"cannot be decoded \("),
        ],
    )
    def test_images_unlike_their_description(self, tmp_path, encode, message):
        prepare_tiny(tmp_path, encode=encode)
        with pytest.raises(DataError, match=rf"tiny_grid/1\.2\.0: image \d+ of 'train' {message}") as caught:
            load_tfds("tiny_grid", data_dir=tmp_path)
        assert "\n" not in str(caught.value)

    @pytest.mark.slow
    def test_neither_jax_nor_tensorflow_is_needed_and_the_copy_needs_no_tfds(self, root):
        code = (
            "import sys; from jaxinv.data import load_dataset; "
            f"load_dataset('tfds:tiny_grid', data_dir={str(root)!r}); "
            "print(*{name.partition('.')[0] for name in sys.modules})"
        )
        first, second = (
            subprocess.run(
                [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
            )
            for _ in range(2)
        )
        assert "tensorflow_datasets" in first.stdout.split()
        assert not {"tensorflow", "jax"} & set(first.stdout.split())
        assert not {"tensorflow_datasets", "tensorflow", "jax"} & set(second.stdout.split())
        assert first.stderr == second.stderr == ""


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def to_tfrecord(folder: Path) -> list[Path]:
    """Rewrite a prepared dataset the way TensorFlow would have written it."""
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    def masked(data: bytes) -> bytes:
        crc = crc32c(data)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    written = []
    for path in sorted(folder.glob("*array_record*")):
        with ArrayRecordDataSource([str(path)]) as source:
            records = source.__getitems__(range(len(source)))
        frames = [(struct.pack("<Q", len(record)), record) for record in records]
        written.append(path.with_name(path.name.replace("array_record", "tfrecord")))
        written[-1].write_bytes(b"".join(size + masked(size) + record + masked(record) for size, record in frames))
        path.unlink()
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    return written


class TestTfRecord:
    def test_the_checksum_of_the_test_is_castagnolis(self):
        assert crc32c(b"123456789") == 0xE3069283

    def test_copies_that_tensorflow_prepared_are_read(self, root, folder):
        to_tfrecord(folder)
        assert_holds(load_tfds("tiny_grid", data_dir=root))

    def test_no_flipped_or_missing_byte_goes_unnoticed(self, root, folder):
        path = to_tfrecord(folder)[1]
        assert "train" in path.name
        whole = path.read_bytes()
        flipped = [
            whole[:i] + bytes([whole[i] ^ 4]) + whole[i + 1 :] for i in (0, 7, 9, 12, len(whole) // 2, len(whole) - 1)
        ]
        for damaged in [*flipped, whole[:-1], whole[:-200], whole[:5], b"", whole + b"\0"]:
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=r"damaged \(|holds 0 examples, but should hold 17"):
                load_tfds("tiny_grid", data_dir=root)
        path.unlink()
        with pytest.raises(DataError, match=r"tfrecord-00000-of-00001: cannot be read \(No such file"):
            load_tfds("tiny_grid", data_dir=root)

    def test_other_formats_are_refused(self, root, folder):
        info = folder / "dataset_info.json"
        info.write_text(info.read_text().replace('"array_record"', '"riegeli"'))
        with pytest.raises(InputError, match=r"is in the format riegeli; give array_record or tfrecord$"):
            load_tfds("tiny_grid", data_dir=root)


class TestDamage:
    @pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "gone"])
    def test_record_files(self, root, folder, damage):
        path = next(folder.glob("*train.array_record*"))
        content = bytearray(path.read_bytes())
        if damage == "truncated":
            path.write_bytes(content[: len(content) // 2])
        elif damage == "flipped":
            content[200] ^= 1  # in the images: the rest of so small a file is padding
            path.write_bytes(content)
        elif damage == "empty":
            path.write_bytes(b"")
        else:
            path.unlink()
        with pytest.raises(DataError, match=r"train\.array_record-00000-of-00001: missing or damaged \(") as caught:
            load_tfds("tiny_grid", data_dir=root)
        assert "\n" not in str(caught.value)
        assert not (folder / COPY).exists()

    @pytest.mark.parametrize("count", [16, 18])
    def test_rows_are_counted(self, root, folder, count):
        info = folder / "dataset_info.json"
        info.write_text(info.read_text().replace('"17"', f'"{count}"'))
        with pytest.raises(DataError, match=rf"split 'train' holds 17 examples, but should hold {count}$"):
            load_tfds("tiny_grid", data_dir=root)

    @pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
    def test_descriptions(self, root, folder, name):
        (folder / name).write_text("{")
        with pytest.raises(DataError, match=r"tiny_grid/1\.2\.0: the prepared dataset is damaged \(") as caught:
            load_tfds("tiny_grid", data_dir=root)
        assert "\n" not in str(caught.value)

    def test_too_large_for_memory(self, root, monkeypatch):
        monkeypatch.setattr("jaxinv.data.tfds.records.available_bytes", lambda: 1000)
        with pytest.raises(DataError, match="split 'train' needs 1,020 bytes of memory; 1,000 are free"):
            load_tfds("tiny_grid", data_dir=root)


class TestCopy:
    def test_the_copy_is_read_instead_of_the_records(self, root, folder):
        first = load_tfds("tiny_grid", data_dir=root)
        for path in folder.glob("*array_record*"):
            path.unlink()
        second = load_tfds("tiny_grid", data_dir=root)
        assert first.fingerprint == second.fingerprint
        assert (first.name, first.classes) == (second.name, second.classes) == ("tfds:tiny_grid", 5)
        assert load_tfds("tiny_grid:1.2.0", data_dir=root).name == "tfds:tiny_grid:1.2.0"
        assert [path.name for path in folder.iterdir() if path.is_dir()] == [COPY]
        assert not list(folder.glob(".*")), "something unfinished was left behind"

    def test_a_damaged_copy_is_made_again_and_that_is_said(self, root, folder, caplog):
        expected = load_tfds("tiny_grid", data_dir=root).fingerprint
        whole = {path: path.read_bytes() for path in (folder / COPY).iterdir()}
        for path, content in whole.items():
            for damaged in (content[:-1], content[:-4] + bytes([content[-4] ^ 4]) + content[-3:], b"", None):
                path.unlink()
                if damaged is not None:
                    path.write_bytes(damaged)
                caplog.clear()
                with caplog.at_level(logging.WARNING):
                    assert load_tfds("tiny_grid", data_dir=root).fingerprint == expected
                if damaged is not None or path.name != "facts.json":
                    assert f"{folder / COPY}" in caplog.text
                    assert "damaged (" in caplog.text
                    assert "it has been made again" in caplog.text
                assert {path: path.read_bytes() for path in (folder / COPY).iterdir()} == whole

    def test_a_damaged_copy_with_nothing_to_make_it_from(self, root, folder):
        load_tfds("tiny_grid", data_dir=root)
        for path in folder.glob("*array_record*"):
            path.unlink()
        images = folder / COPY / "x_test.npy"
        images.write_bytes(images.read_bytes()[:-100])
        with pytest.raises(
            DataError, match=r"x_test\.npy: damaged \(.*; nor can it be made again \(.*missing"
        ) as caught:
            load_tfds("tiny_grid", data_dir=root)
        assert "\n" not in str(caught.value)

    def test_a_copy_of_other_prepared_data_is_not_used(self, root, folder, caplog):
        load_tfds("tiny_grid", data_dir=root)
        shutil.move(folder / COPY, root / "stale")
        shutil.rmtree(folder)
        prepare_tiny(root, counts={"train": 9, "test": 6})
        shutil.move(root / "stale", folder / COPY)
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                assert len(load_tfds("tiny_grid", data_dir=root).x_train) == 9
        assert caplog.text == ""

    def test_where_the_folder_cannot_be_written_the_copy_is_the_users(self, root, folder, monkeypatch, caplog):
        monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        access = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: path != folder and access(path, mode))
        with caplog.at_level(logging.WARNING):
            assert_holds(load_tfds("tiny_grid", data_dir=root))
            for path in folder.glob("*array_record*"):
                path.unlink()
            assert_holds(load_tfds("tiny_grid", data_dir=root))
        assert not (folder / COPY).exists()
        assert caplog.text == ""


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                {"image": tfds.features.Image(shape=(None, None, 3))},
                r"images of tfds:tiny_grid differ in size \(shape \(None",
            ),
            ({"image": tfds.features.Image(shape=(5, None, 3))}, "differ in size"),
            ({"label": tfds.features.Sequence(tfds.features.ClassLabel(num_classes=5))}, "targets of .* are Sequence"),
            ({"keys": None}, r"names no image and label \(supervised keys: None\)"),
            ({"keys": ("label", "image")}, "the inputs of tfds:tiny_grid are ClassLabel; give one with Image"),
            ({"keys": ("image", "id")}, "the targets of tfds:tiny_grid are Text; give one with a ClassLabel per image"),
            ({"keys": ("image", "label", "label")}, "names no image and label"),
            ({"counts": {"train": 3}}, "has the splits train; give one with train, and with test or validation"),
            ({"counts": {"test": 3}}, "has the splits test; give one with train, and with test or validation"),
        ],
    )
    def test_datasets_of_other_kinds(self, tmp_path, arguments, message):
        prepare_tiny(tmp_path, **arguments)
        with pytest.raises(InputError, match=message) as caught:
            load_tfds("tiny_grid", data_dir=tmp_path)
        assert "\n" not in str(caught.value)
        (row,) = (row for row in describe_datasets(tmp_path) if row.name == "tfds:tiny_grid")
        assert row.state.startswith("not usable: ")

    def test_sixteen_bit_images(self, tmp_path):
        folder = prepare_tiny(tmp_path)
        features = folder / "features.json"
        features.write_text(features.read_text().replace("uint8", "uint16"))
        with pytest.raises(InputError, match="are uint16 with 3 channels; give uint8 with 1, 3 or 4"):
            load_tfds("tiny_grid", data_dir=tmp_path)

    @pytest.mark.parametrize(
        "name",
        [
            "../x",
            "/etc/passwd",
            "a/../b",
            "a/..",
            "a/.hidden",
            "a\0b",
            "",
            "a//b",
            "a/b/c",
            "a:1",
            "a b",
            "kaggle:x",
            "Ä",
            "a,b=1",
            "a\n",
        ],
    )
    def test_names_that_are_paths_or_nonsense(self, tmp_path, name):
        with pytest.raises(InputError, match=r"^dataset: 'tfds:.* is not allowed; give tfds:name") as caught:
            load_dataset(f"tfds:{name}", data_dir=tmp_path)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("fashon_mnist", r"neither known .* nor prepared in .*; did you mean tfds:fashion_mnist"),
            ("qqqqqqqq", r"neither known to tensorflow-datasets \d\S+ nor prepared in \S+$"),
            ("mnist:1.0.0", "'tfds:mnist:1.0.0' is not known; give tfds:mnist:3"),
            ("mnist/letters", "'tfds:mnist/letters' is not known"),
            ("cifar10_corrupted/brightness", "no such configuration; did you mean tfds:cifar10_corrupted/brightness_"),
            ("imagenette", "the images of tfds:imagenette differ in size"),
            ("chexpert", "the targets of tfds:chexpert are Sequence"),
        ],
    )
    def test_unknown_or_unusable_before_anything_is_prepared(self, tmp_path, name, message):
        with pytest.raises(InputError, match=message):
            load_tfds(name, data_dir=tmp_path)
        assert not list(tmp_path.iterdir())

    def test_what_needs_tensorflow_to_prepare_says_how(self, tmp_path):
        with pytest.raises(
            DataError, match=r"run once, where TensorFlow is installed: tfds build cifar10 --data_dir=\S+ --"
        ):
            load_tfds("cifar10", data_dir=tmp_path)


class TestFinding:
    def test_parse(self):
        assert parse("mnist") == Request("mnist")
        assert parse("so2sat/rgb:2.1.0") == Request("so2sat", "rgb", "2.1.0")
        assert str(parse("so2sat/rgb:2.1.0")) == "tfds:so2sat/rgb:2.1.0"

    def test_the_newest_version_unless_one_is_named(self, root):
        for version in ("1.10.0", "1.9.0"):
            prepare_tiny(root, version=version)
        (root / "tiny_grid" / "2.0.0").mkdir()  # no prepared dataset
        assert find_prepared(root, Request("tiny_grid")) == root / "tiny_grid" / "1.10.0"
        assert find_prepared(root, Request("tiny_grid", version="1.2.0")) == root / "tiny_grid" / "1.2.0"
        assert find_prepared(root, Request("tiny_grid", version="2.0.0")) is None
        assert load_tfds("tiny_grid:1.9.0", data_dir=root).name == "tfds:tiny_grid:1.9.0"

    def test_configurations(self, tmp_path):
        prepare_tiny(tmp_path, config="small")
        assert_holds(load_tfds("tiny_grid", data_dir=tmp_path))  # the default one
        assert load_tfds("tiny_grid/small", data_dir=tmp_path).name == "tfds:tiny_grid/small"
        metadata = tmp_path / "tiny_grid" / ".config" / "metadata.json"
        metadata.write_text(json.dumps({"default_config_name": "large"}))
        with pytest.raises(InputError, match=r"several configurations; give one of those in .*: tfds:tiny_grid/small$"):
            load_tfds("tiny_grid", data_dir=tmp_path)


class TestDescribing:
    def test_rows(self, root, folder):
        rows = {row.name: row for row in describe_datasets(root)}
        assert list(rows) == ["mnist", "tfds:tiny_grid", "tfds:mnist", "tfds:fashion_mnist", "tfds:kmnist"]
        assert (rows["mnist"].state, rows["mnist"].train) == ("bundled", (55_000, 28, 28, 1))
        assert rows["mnist"].path.is_file()
        tiny = rows["tfds:tiny_grid"]
        assert (tiny.state, tiny.path, tiny.classes) == ("prepared", folder, 5)
        assert (tiny.train, tiny.test) == ((17, 5, 4, 3), (6, 5, 4, 3))
        assert rows["tfds:mnist"].state == "would download 11.1 MiB"
        assert rows["tfds:fashion_mnist"].state == "would download 29.4 MiB"
        load_tfds("tiny_grid", data_dir=root)
        assert {row.name: row.state for row in describe_datasets(root)}["tfds:tiny_grid"] == "cached"

    def test_only_what_is_missing_would_be_downloaded(self, tmp_path):
        placed = tmp_path / "downloads" / "mnist" / "train-images-idx3-ubyte.gz"
        placed.parent.mkdir(parents=True)
        placed.touch()
        rows = {row.name: row for row in describe_datasets(tmp_path)}
        assert rows["tfds:mnist"].state == "would download 1.6 MiB"
        assert rows["tfds:fashion_mnist"].state == "would download 29.4 MiB"

    def test_a_damaged_dataset_is_one_row_not_the_end(self, root, folder):
        (folder / "dataset_info.json").write_text("{")
        rows = {row.name: row for row in describe_datasets(root)}
        assert rows["tfds:tiny_grid"].state.startswith("not usable: ")
        assert "\n" not in rows["tfds:tiny_grid"].state

    def test_an_absent_folder_is_an_empty_one(self, tmp_path, capfd):
        assert len(describe_datasets(tmp_path / "none")) == 4
        assert not (tmp_path / "none").exists()
        assert capfd.readouterr().out == ""
