"""The stored studies of a folder: its own, or those of the folders in it."""

import os
from collections.abc import Mapping

import numpy as np

from jaxinv import store
from jaxinv.errors import InputError
from jaxinv.report.datasets import LocalDatasets
from jaxinv.report.study import StoredStudy
from jaxinv.results.selection import done_trials
from jaxinv.utils.files import local_path


def read_studies(
    folder: str | os.PathLike[str],
    *,
    bounds: Mapping[str, float] | None = None,
    border: np.ndarray | None = None,
) -> list[StoredStudy]:
    """Read the stored studies of a folder, in the order of their names.

    Args:
        folder: a stored run, or a folder with stored runs in it.
        bounds: arm -> learning rate up to which gradient descent is stable at the start; by default what
            `jaxinv.theory` says, where there are several learning rates and the dataset is at hand.
        border: bool [H, W], pixels never on in training; by default from the dataset, where it is at hand.

    Raises:
        InputError: no such folder.
        DataError: results are damaged, or no trial is done.
    """
    root = local_path("folder", folder)
    if not root.is_dir():
        raise InputError(f"folder: {str(root)!r} is not a folder; give one with results in it")
    alone = (root / "results.zarr").is_dir()
    names = [""] if alone else sorted(path.name for path in root.iterdir() if (path / "results.zarr").is_dir())
    studies, datasets = [], LocalDatasets()
    for name in names:
        results = store.load(root / name)
        done_trials(results)  # refuses results without any
        studies.append(
            StoredStudy(
                results=results,
                name=name,
                border=datasets.border(results) if border is None else border,
                bounds=datasets.bounds(results) if bounds is None else bounds,
            )
        )
    return studies
