"""What a page can say of a study's dataset, where that is on this machine: nothing is downloaded for it."""

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxinv.errors import DataError, InputError
from jaxinv.study import LATER_FIELDS

if TYPE_CHECKING:
    import xarray as xr

    from jaxinv.data import Dataset


class LocalDatasets:
    """The datasets of stored results, as far as they are on this machine; each is read once."""

    def __init__(self) -> None:
        self._load = cache(_load)
        self._bound = cache(_bound)

    def find(self, results: "xr.Dataset") -> "Dataset | None":
        """The very dataset that results come from, or None."""
        study = json.loads(results.attrs.get("study", "{}"))
        name, illumination, seed = study.get("dataset"), study.get("illumination", 0.0), study.get("seed", 0)
        if not isinstance(name, str) or not (name == "mnist" or (name.endswith(".npz") and Path(name).is_file())):
            return None
        dataset = self._load(name, illumination, seed if illumination else 0)
        same = dataset is not None and dataset.fingerprint == results.attrs.get("data_fingerprint")
        return dataset if same else None

    def border(self, results: "xr.Dataset") -> np.ndarray | None:
        """Bool [H, W], the pixels never on in training; None where the dataset is not at hand."""
        if "weight_delta" not in results or (dataset := self.find(results)) is None:
            return None
        from jaxinv.training.weight_change import border_mask

        return border_mask(dataset.x_train)

    def bounds(self, results: "xr.Dataset") -> dict[str, float]:
        """arm -> maximal stable learning rate, of preprocessings that have a name, for gradient descent at several
        learning rates; else {}."""
        study = json.loads(results.attrs.get("study", "{}"))
        model, arms = study.get("model"), [arm for arm in study.get("arms", ()) if isinstance(arm, str)]
        plain = study.get("optimizer") == "sgd" and isinstance(model, str)
        plain = plain and all(study.get(name, usual) == usual for name, usual in LATER_FIELDS.items())
        if not plain or results.sizes["learning_rate"] < 2 or (dataset := self.find(results)) is None:
            return {}
        found = {arm: self._bound(dataset, arm, model) for arm in arms}
        return {arm: bound for arm, bound in found.items() if bound is not None and np.isfinite(bound)}


def _load(name: str, illumination: float, seed: int) -> "Dataset | None":
    from jaxinv import data

    try:
        dataset = data.load_dataset(name)
    except (InputError, DataError):  # another file by the same name: the page says that the dataset is not at hand
        return None
    return data.relight(dataset, strength=illumination, seed=seed) if illumination else dataset


def _bound(dataset: "Dataset", arm: str, model: str) -> float | None:
    """None for a model that has no such bound, whatever the arm."""
    from jaxinv.models import get_model
    from jaxinv.theory import compute_sharpness

    if get_model(model).pixel_weights is None:
        return None
    return compute_sharpness(dataset, arm, model).max_stable_learning_rate
