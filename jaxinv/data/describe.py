"""`describe_datasets`: which datasets are at hand, and which could be downloaded. Reads descriptions, never images."""

import os
from dataclasses import dataclass
from pathlib import Path

from jaxinv.data.bundled import PACKED
from jaxinv.data.tfds.folders import Request, data_root, find_prepared, prepared_folders, quiet
from jaxinv.data.tfds.load import COPY
from jaxinv.errors import DataError, InputError


@dataclass(frozen=True)
class DatasetRow:
    """One dataset: its name for `load_dataset`, its state, where it is, and the shapes [N, H, W, K] of its splits.

    `state` is `bundled`, `cached` (decoded copy there), `prepared`, `would download 11.1 MiB`, or
    `not usable: …` with the reason. Shapes and the number of classes are None where nothing is known yet.
    """

    name: str
    state: str
    path: Path
    train: tuple[int, ...] | None = None
    test: tuple[int, ...] | None = None
    classes: int | None = None


def describe_datasets(data_dir: str | os.PathLike[str] | None = None) -> list[DatasetRow]:
    """The bundled MNIST, every dataset prepared in `data_dir`, and those that can be prepared without TensorFlow.

    `data_dir` is by default `TFDS_DATA_DIR`, else `~/tensorflow_datasets`.

    Raises:
        InputError: `data_dir` is not a folder.
        DataError: `data_dir` cannot be read.
    """
    root = data_root(data_dir)
    rows = [DatasetRow("mnist", "bundled", PACKED, (55_000, 28, 28, 1), (10_000, 28, 28, 1), 10)]
    rows += [_prepared_row(request, folder) for request, folder in prepared_folders(root)]
    from jaxinv.data.tfds.prepare import FILES, PREPARABLE, downloads

    for name in PREPARABLE:
        if find_prepared(root, Request(name)) is None:
            folder = root / "downloads" / name
            size = sum(downloads(name)[file][1] for file in FILES if not (folder / file).is_file())
            rows.append(DatasetRow(f"tfds:{name}", f"would download {size / 2**20:.1f} MiB", root / name))
    return rows


def _prepared_row(request: Request, folder: Path) -> DatasetRow:
    from jaxinv.data.tfds.records import image_features, prepared_info, test_split_of

    try:
        with quiet():
            info = prepared_info(folder)
            where = image_features(str(request), info)
            test = test_split_of(str(request), info)
    except (InputError, DataError) as error:
        return DatasetRow(str(request), f"not usable: {str(error).removeprefix('dataset: ')}", folder)
    train_shape, test_shape = ((info.splits[split].num_examples, *where.shape) for split in ("train", test))
    state = "cached" if (folder / COPY).is_dir() else "prepared"
    return DatasetRow(str(request), state, folder, train_shape, test_shape, where.classes)
